"""Lines over gradient steps or nominal rates: evaluation during training, losses, OOD actions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ramac.data.ood import RATES
from ramac.plotting import COLOURS, GREY
from ramac.reporting.groups import Group
from ramac.reporting.plots.panels import COLUMNS, foremost, grid, legend, line_label, sizes
from ramac.reporting.runs import Run, number
from ramac.statistics import cvar
from ramac.text import for_label

STYLES = ("-", "--", "-.", ":")  # for print in grey
POINTS = 200  # of a line: more do not show in a panel of five centimetres

Line = Callable[[Run], pd.Series | None]


def measures(alpha: float) -> dict[str, Callable[[Any], float]]:
    """Mean and CVaR of returns, by title."""
    return {"mean": lambda returns: float(np.mean(returns)), f"CVaR_{alpha:g}": lambda part: float(cvar(part, alpha))}


def band(groups: Sequence[Group]) -> str:
    """What a line of the groups is, for a caption."""
    several = any(len(group.runs) > 1 for group in groups)
    return "mean over seeds, band from the lowest to the highest seed" if several else "a line per run"


def seeds_of(group: Group, line: Line) -> pd.DataFrame:
    """Values [points, runs] of a line, at the points that all runs have; at all points where they share none."""
    found = [values for run in group.runs if (values := line(run)) is not None]
    found = [values for values in found if np.isfinite(values).any()]
    if not found:
        return pd.DataFrame()
    frame = pd.concat(found, axis=1, join="inner")
    return (frame if len(frame) else pd.concat(found, axis=1)).sort_index()


def draw_lines(axes: Any, groups: Sequence[Group], frames: Sequence[pd.DataFrame]) -> None:
    """The mean over the runs of each group, and a band from the lowest to the highest; one point is a dot."""
    for index, (group, frame) in enumerate(zip(groups, frames, strict=True)):
        if frame.empty:
            continue
        frame = frame.iloc[:: max(1, len(frame) // POINTS)]
        colour, style = COLOURS[index % len(COLOURS)], STYLES[index % len(STYLES)] if len(frame) > 1 else "o"
        axes.plot(frame.index, frame.mean(axis=1), style, color=colour, label=line_label(group))
        ends = frame.index, frame.min(axis=1), frame.max(axis=1)
        if frame.shape[1] > 1:
            if len(frame) == 1:
                axes.vlines(*ends, color=colour, lw=1)
            else:
                axes.fill_between(*ends, color=colour, alpha=0.15, lw=0)


def lines_over(xlabel: str, groups: Sequence[Group], lines: Mapping[str, Line], height: float) -> Figure | None:
    """Lines of the groups over an axis, one panel per title; a title without a value has none."""
    found = {title: [seeds_of(group, line) for group in groups] for title, line in lines.items()}
    found = {title: frames for title, frames in found.items() if any(len(frame) for frame in frames)}
    if not found:
        return None
    figure, panels = grid(len(found), COLUMNS, height)
    for axes, (title, frames) in zip(panels, found.items(), strict=True):
        draw_lines(axes, groups, frames)
        axes.set(title=for_label(title, 40), xlabel=xlabel)
    if len(groups) > 1:
        legend(figure, panels, groups)
    return figure


def evaluated(run: Run) -> bool:
    """Whether a run was evaluated at several gradient steps."""
    steps = run.episodes["step"]
    return bool((steps != steps[:1]).any())


def return_lines(alpha: float) -> dict[str, Line]:
    """Mean and CVaR of the evaluation episodes of a run by gradient step."""
    return {
        f"{title} of the return": lambda run, measure=measure: run.by_step(measure)
        for title, measure in measures(alpha).items()
    }


def learning_curves(groups: Sequence[Group], alpha: float) -> tuple[Figure, str] | None:
    """Mean and CVaR of the evaluation episodes over gradient steps; None where there was one evaluation only."""
    several = [group for group in groups if any(map(evaluated, group.runs))]
    if not several:
        return None
    drawn, left = foremost(several, len(COLOURS), alpha)
    counts = {
        len(steps) // len(set(steps)) for group in drawn for run in group.runs if len(steps := run.episodes["step"])
    }
    n = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
    caption = f"Evaluation during training, {sizes(drawn, False)}, n = {n} episodes each time and seed: {band(drawn)}."
    figure = lines_over("gradient steps", drawn, return_lines(alpha), 2.1)
    return None if figure is None else (figure, caption + left)


def losses(groups: Sequence[Group], alpha: float) -> tuple[Figure, str] | None:
    """Each loss over gradient steps; None where no run has any."""
    drawn, left = foremost([g for g in groups if any(run.read_metrics for run in g.runs)], len(COLOURS), alpha)
    drawn = [group for group in drawn if any(run.metrics for run in group.runs)]
    names = sorted({name for g in drawn for run in g.runs for name in run.metrics if name.startswith("loss_")})
    lines: dict[str, Line] = {name: lambda run, name=name: run.metrics.get(name) for name in names}
    figure = lines_over("gradient steps", drawn, lines, 1.7)
    if figure is None:
        return None
    return figure, f"Losses of {sizes(drawn, episodes=False)}: {band(drawn)}. Scales differ between methods.{left}"


def ood_rates(run: Run, key: str) -> pd.Series | None:
    """Share of OOD actions of the policy (`rate`) or of the `data` by nominal rate; None where the run has none."""
    found = run.summary.get("ood")
    rows = found.get("curve") if isinstance(found, dict) else None
    if not rows or not isinstance(rows, list):
        return None
    points = [(number(row, "nominal"), number(row, key)) for row in rows]
    shares = pd.Series({nominal: share for nominal, share in points if 0 < nominal < 1}, dtype=float).dropna()
    return None if shares.empty else shares


def ood_curves(groups: Sequence[Group], alpha: float) -> tuple[Figure, str] | None:
    """Shares of OOD actions at each nominal rate of the detector; None where no run has them."""
    there = [g for g in groups if any(ood_rates(run, "rate") is not None for run in g.runs)]
    drawn, left = foremost(there, len(COLOURS), alpha)
    titles = {"rate": "OOD actions of the policy", "data": "OOD actions of the logged data"}
    lines: dict[str, Line] = {title: lambda run, key=key: ood_rates(run, key) for key, title in titles.items()}
    figure = lines_over("nominal rate of the detector", drawn, lines, 2.1)
    if figure is None:
        return None
    for axes in figure.axes:
        axes.plot(RATES, RATES, color=GREY, lw=0.7, zorder=1)
        axes.set(xscale="log", ylim=(0, 1.02))
        axes.minorticks_off()
        axes.set_xticks(RATES, [f"{rate:.0%}" for rate in RATES])
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    caption = (
        "Share of OOD actions at thresholds of several nominal rates; grey: the nominal rate itself, which "
        f"new actions of the behaviour have. {sizes(drawn, episodes=False)}: {band(drawn)}.{left}"
    )
    return figure, caption
