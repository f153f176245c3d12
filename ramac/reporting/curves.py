"""Curves of metrics over gradient steps, of runs that need not have ended."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import pandas as pd
from matplotlib.figure import Figure

from ramac.errors import InputError, nearest
from ramac.plotting import styled
from ramac.reporting.groups import Group
from ramac.reporting.plots.curves import Line, band, evaluated, lines_over, measures, seeds_of
from ramac.reporting.plots.panels import line_label, sizes
from ramac.reporting.runs import Run

DEFAULT = ("loss_*", "return_*")
GROUPS = 14  # lines of a panel: two of each colour, which differ in style
XLABEL = "gradient steps"


def available(runs: Sequence[Run], alpha: float, smooth: int) -> dict[str, Line]:
    """The curves that some run has, by name: its metrics, and mean and CVaR of its evaluation episodes.

    `smooth`: each value is the mean of so many rows that end with it.
    """
    names = sorted({name for run in runs for name in run.metrics})
    lines: dict[str, Line] = {name: lambda run, name=name: run.metrics.get(name) for name in names}
    if any(len(run.episodes["step"]) for run in runs):
        for name, measure in zip(("return_mean", "return_cvar"), measures(alpha).values(), strict=True):
            lines.setdefault(name, lambda run, measure=measure: run.by_step(measure))
    return {name: lambda run, line=line: smoothed(line(run), smooth) for name, line in lines.items()}


def smoothed(values: pd.Series | None, rows: int) -> pd.Series | None:
    """The mean of the last `rows` values up to each; of fewer at the start."""
    return values if values is None or rows == 1 else values.sort_index().rolling(rows, min_periods=1).mean()


def chosen(lines: Mapping[str, Line], patterns: Sequence[str], pictures: Sequence[str]) -> dict[str, Line]:
    """The curves that match `patterns`, in their order. Raises InputError for one that matches none."""
    found: dict[str, Line] = {}
    for pattern in patterns:
        names = [name for name in lines if fnmatchcase(name, pattern)]
        if not names:
            text = f"no metric {pattern!r}; there are {', '.join(lines)} and the pictures {', '.join(pictures)}"
            raise InputError(text + nearest(pattern, [*lines, *pictures]))
        found |= {name: lines[name] for name in names}
    return found


def default(lines: Mapping[str, Line], runs: Sequence[Run]) -> dict[str, Line]:
    """The losses, and the returns where they were evaluated several times. Raises InputError where there is neither."""
    several = any(map(evaluated, runs))
    patterns = DEFAULT if several else DEFAULT[:1]
    found = {name: line for name, line in lines.items() if any(fnmatchcase(name, pattern) for pattern in patterns)}
    if not found:
        raise InputError(f"{runs[0].source} has logged no loss yet; metrics.csv has a row every log_every steps")
    return found


def titled(lines: Mapping[str, Line], alpha: float) -> dict[str, Line]:
    """The curves by the titles of their panels."""
    return {f"{name}, alpha {alpha:g}" if name == "return_cvar" else name: line for name, line in lines.items()}


def figure_of(groups: Sequence[Group], lines: Mapping[str, Line], smooth: int) -> tuple[Figure, str]:
    """A panel per curve, and the caption. Raises InputError where no value is finite."""
    drawn = groups[:GROUPS]
    with styled():
        figure = lines_over(XLABEL, drawn, lines, 1.9)
    if figure is None:
        raise InputError(f"{', '.join(lines)}: no value is a finite number")
    caption = f"{sizes(drawn, False)}: {band(drawn)}."
    caption += f" Each value is the mean of the last {smooth} rows." if smooth > 1 else ""
    if left := len(groups) - len(drawn):
        caption += f" The first {GROUPS} groups; {left} left out."
    return figure, caption


def means(groups: Sequence[Group], lines: Mapping[str, Line]) -> dict[str, dict[str, pd.Series]]:
    """The mean over the runs of each group, by title and label, for a terminal."""
    found = {
        title: {
            line_label(group).replace("\n", " "): frame.mean(axis=1)
            for group in groups[:GROUPS]
            if len(frame := seeds_of(group, line))
        }
        for title, line in lines.items()
    }
    return {title: part for title, part in found.items() if part}
