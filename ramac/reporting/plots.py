"""The figures of a report: learning curves, losses, return distributions, heat maps, calibration, OOD actions.

Each function returns a figure of the groups of one task and its caption, None where there is nothing to show.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ramac.data.ood import RATES
from ramac.plotting import BLUE, GREY, ORANGE, RED, return_histogram
from ramac.reporting.formats import decimals
from ramac.reporting.groups import Group, natural, short
from ramac.reporting.runs import Run, number
from ramac.statistics import cvar
from ramac.text import for_label

COLOURS = (BLUE, RED, "#009E73", "#CC79A7", ORANGE, "#56B4E9", "#000000")  # Okabe and Ito's but yellow, pale as a line
STYLES = ("-", "--", "-.", ":")  # for print in grey
PANELS, COLUMNS = 24, 3  # small multiples on a page, and across it
ABOVE = 34  # letters above a panel
MAPS = 6  # pairs of heat maps: a page's height


def grid(panels: int, columns: int, height: float, **shared: Any) -> tuple[Figure, list[Any]]:
    """A figure with this number of panels, as wide as a page of text, and the panels."""
    columns = min(columns, panels)
    rows = math.ceil(panels / columns)
    width = 7.2 if columns > 1 else 4.5  # inches: the text of a page
    figure = Figure(figsize=(width, height * rows + 0.4), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, **shared).flat)
    for spare in axes[panels:]:
        spare.set_visible(False)
    return figure, axes[:panels]


def foremost(groups: Sequence[Group], count: int, alpha: float) -> tuple[list[Group], str]:
    """The `count` groups of highest CVaR in their own order, and a sentence on the others."""
    if len(groups) <= count:
        return list(groups), ""
    ranked = sorted(groups, key=lambda group: -float(cvar(group.returns, alpha)))[:count]
    left = len(groups) - count
    return [g for g in groups if g in ranked], f" The {count} groups of highest CVaR_{alpha:g}; {left} left out."


def line_label(group: Group) -> str:
    """The group's label in a legend."""
    return for_label(group.label, 60)


def legend(figure: Figure, panels: Iterable[Any], order: Iterable[Group] = ()) -> None:
    """One legend below the panels, each label once, in the order of the groups where they are given."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if labels := [name for group in order if (name := line_label(group)) in found] or list(found):
        letters = max(len(line) for label in labels for line in label.split("\n"))
        columns = max(1, min(4, 100 // (letters + 8)))  # a line of the figure holds about 100 letters
        handles = [found[label] for label in labels]
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)


def measures(alpha: float) -> dict[str, Callable[[Any], float]]:
    """Mean and CVaR of returns, by title."""
    return {"mean": lambda returns: float(np.mean(returns)), f"CVaR_{alpha:g}": lambda part: float(cvar(part, alpha))}


def lines_over(
    xlabel: str, groups: Sequence[Group], lines: Mapping[str, Callable[[Run], pd.Series | None]], height: float
) -> Figure:
    """Lines of the runs over an axis, one panel per title: their mean, and a band from lowest to highest."""
    figure, panels = grid(len(lines), COLUMNS, height)
    for axes, (title, line) in zip(panels, lines.items(), strict=True):
        for index, group in enumerate(groups):
            found = [values for run in group.runs if (values := line(run)) is not None]
            frame = pd.concat(found, axis=1, join="inner").sort_index() if found else pd.DataFrame()
            frame = frame.iloc[:: max(1, len(frame) // 200)]  # more points do not show in a panel of five centimetres
            values, colour = frame.to_numpy(), COLOURS[index % len(COLOURS)]
            style = STYLES[index % len(STYLES)] if len(values) > 1 else "."
            if len(values):
                axes.plot(frame.index, values.mean(1), style, color=colour, lw=1.4, label=line_label(group))
                axes.fill_between(frame.index, values.min(1), values.max(1), color=colour, alpha=0.15, lw=0)
        axes.set(title=for_label(title, 40), xlabel=xlabel)
    legend(figure, panels, groups)
    return figure


def learning_curves(groups: Sequence[Group], alpha: float) -> tuple[Figure, str] | None:
    """Mean and CVaR of the evaluation episodes over gradient steps; None where there was one evaluation only."""
    several = [g for g in groups if any(run.episodes["step"].nunique() > 1 for run in g.runs)]
    if not several:
        return None
    drawn, left = foremost(several, len(COLOURS), alpha)
    lines = {
        f"{title} of the return": lambda run, measure=measure: run.episodes.groupby("step")["return"].agg(measure)
        for title, measure in measures(alpha).items()
    }
    caption = "Evaluation during training: mean over seeds, band from the lowest to the highest seed."
    return lines_over("gradient steps", drawn, lines, 2.6), caption + left


def losses(groups: Sequence[Group], alpha: float) -> tuple[Figure, str] | None:
    """Each loss over gradient steps; None where no run has any."""
    drawn, left = foremost([g for g in groups if any(run.metrics for run in g.runs)], len(COLOURS), alpha)
    names = sorted({name for g in drawn for run in g.runs for name in run.metrics if name.startswith("loss_")})
    if not names:
        return None
    caption = "Losses: mean over seeds, band from the lowest to the highest seed. Scales differ between methods."
    lines = {name: lambda run, name=name: run.metrics.get(name) for name in names}
    return lines_over("gradient steps", drawn, lines, 1.9), caption + left


def distributions(groups: Sequence[Group], alpha: float) -> tuple[Figure, str]:
    """Histogram of each group's returns, the worst share in another colour, mean and CVaR marked."""
    drawn, left = foremost(groups, PANELS, alpha)
    edges = np.histogram_bin_edges(np.concatenate([group.returns for group in drawn]), 40)
    figure, panels = grid(len(drawn), COLUMNS, 1.5, sharex=True)
    for axes, group in zip(panels, drawn, strict=True):
        return_histogram(axes, group.returns, edges, alpha, BLUE)
        axes.set_title(for_label(f"{group.label} (n={len(group.returns)})", ABOVE))
    figure.supylabel("share of episodes", fontsize=8)
    for axes in panels[-COLUMNS:]:  # the lowest of each column
        axes.tick_params(labelbottom=True)  # a shared axis hides its labels above an empty place
        axes.set_xlabel("return (reward units)")
    legend(figure, panels)
    return figure, f"Returns of the episodes of the table, all seeds together.{left}"


def heat_maps(groups: Sequence[Group], alpha: float) -> tuple[Figure, str] | None:
    """Mean and CVaR over the two keys with most levels; None where most pairs of levels have no run."""
    levels = {key: sorted({group.keys[key] for group in groups}, key=natural) for key in groups[0].keys}
    levels = {key: found for key, found in levels.items() if len(found) > 1}
    if len(levels) < 2:
        return None
    first, second = sorted(levels, key=lambda key: -len(levels[key]))[:2]
    rows, columns = levels[first], levels[second]
    # a list is not drawn as a map, such as recipes by actor
    if len({(group.keys[first], group.keys[second]) for group in groups}) < len(rows) * len(columns) / 2:
        return None
    rest = [key for key in levels if key not in (first, second)]
    titles = short(list(levels))
    maps: dict[str, list[Group]] = {}
    for group in groups:
        maps.setdefault(", ".join(f"{titles[key]}={group.keys[key]}" for key in rest), []).append(group)
    drawn, left = dict(list(maps.items())[:MAPS]), max(0, len(maps) - MAPS)
    ticks = [for_label(level, 24, 1) for level in columns]
    letters = max(map(len, ticks))
    below = 0.07 * max(0, letters - 10)  # inches for long names that stand upright
    figure, panels = grid(2 * len(drawn), 2, max(1.6, 0.28 * len(rows) + 0.8) + below)
    for side, (title, measure) in enumerate(measures(alpha).items()):
        parts = ({(g.keys[first], g.keys[second]): measure(g.returns) for g in part} for part in drawn.values())
        values = [pd.Series(part).unstack().reindex(rows, columns=columns).to_numpy() for part in parts]
        for axes, name, each in zip(panels[side::2], drawn, values, strict=True):
            heat_map(axes, each, np.nanmin(values), np.nanmax(values))
            axes.set_title(for_label(f"{title}, {name}" if name else title, ABOVE))
            axes.set_xticks(np.arange(len(columns)) + 0.5, ticks, rotation=90 if letters > 6 else 0)
            axes.set_yticks(np.arange(len(rows)) + 0.5, [for_label(level, 24, 1) for level in rows])
            axes.set(xlabel=for_label(titles[second], ABOVE, 1), ylabel=for_label(titles[first], 24))
    caption = "Episode returns, one colour scale per statistic, dark is low; blank where there is no run."
    caption += f" {left} other combinations of {', '.join(titles[key] for key in rest)} left out." if left else ""
    return figure, caption


def heat_map(axes: Any, values: np.ndarray, low: float, high: float) -> None:
    """Cells [rows, columns] by colour and number."""
    axes.pcolormesh(np.ma.masked_invalid(values), cmap="cividis", vmin=low, vmax=high, edgecolors="white", lw=0.5)
    size, style = 7 if max(values.shape) <= 8 else 5, f"z.{decimals([low, high])}f"
    for (row, column), value in np.ndenumerate(values):
        if math.isfinite(value):
            dark = value < low + 0.6 * (high - low)
            axes.text(column + 0.5, row + 0.5, f"{value:{style}}", ha="center", va="center", fontsize=size,
                      color="white" if dark else "black")  # fmt: skip
    axes.invert_yaxis()


def calibration(groups: Sequence[Group], alpha: float) -> tuple[Figure, str] | None:
    """Predicted and realised discounted returns, at each level; None where no run has calibration.json."""
    drawn, left = foremost([g for g in groups if any(run.calibration for run in g.runs)], PANELS // 2, alpha)
    if not drawn:
        return None
    figure, panels = grid(len(drawn), COLUMNS, 1.9, sharey=True)
    for axes, group in zip(panels, drawn, strict=True):
        asked = [run.calibration for run in group.runs if run.calibration]
        alphas = sorted({number(line, "alpha") for each in asked for line in each["cvar"]}, reverse=True)
        for index, each in enumerate(asked):
            shift = 0.12 * (index - (len(asked) - 1) / 2)
            for line in each["cvar"]:
                at = alphas.index(number(line, "alpha")) + shift
                axes.vlines(at, number(line, "low"), number(line, "high"), color=BLUE, lw=1)
                axes.plot(at, number(line, "realised"), "o", color=BLUE, ms=3, label="realised, 95 % interval")
                axes.plot(at, number(line, "predicted"), "D", color=RED, ms=3, mfc="none", label="predicted")
        axes.set_xticks(range(len(alphas)), ["mean" if level == 1 else f"CVaR_{level:g}" for level in alphas])
        axes.tick_params(axis="x", rotation=30)
        off, chance = (np.mean([number(each, f"miscalibration{end}") for each in asked]) for end in ("", "_of_chance"))
        axes.set_title(f"{for_label(group.label, ABOVE)}\nmiscalibration {off:.2f}, by chance {chance:.2f}")
    figure.supylabel("discounted return (reward units)", fontsize=8)
    legend(figure, panels)
    caption = (
        "The critic's prediction at the first step against the returns of the evaluation episodes, one pair per seed. "
        f"Miscalibration: distance of the PIT from uniform; by chance: its 95 % bound, means over seeds.{left}"
    )
    return figure, caption


def ood_rates(run: Run, key: str) -> pd.Series | None:
    """Share of OOD actions of the policy (`rate`) or of the `data` by nominal rate; None where the run has none."""
    found = run.summary.get("ood")
    rows = found.get("curve") if isinstance(found, dict) else None
    points = [(number(row, "nominal"), number(row, key)) for row in (rows if isinstance(rows, list) else [])]
    shares = pd.Series({nominal: share for nominal, share in points if 0 < nominal < 1}, dtype=float).dropna()
    return None if shares.empty else shares


def ood_curves(groups: Sequence[Group], alpha: float) -> tuple[Figure, str] | None:
    """Shares of OOD actions at each nominal rate of the detector; None where no run has them."""
    there = [g for g in groups if any(ood_rates(run, "rate") is not None for run in g.runs)]
    drawn, left = foremost(there, len(COLOURS), alpha)
    if not drawn:
        return None
    titles = {"rate": "OOD actions of the policy", "data": "OOD actions of the logged data"}
    lines = {title: lambda run, key=key: ood_rates(run, key) for key, title in titles.items()}
    figure = lines_over("nominal rate of the detector", drawn, lines, 2.6)
    for axes in figure.axes:
        axes.plot(RATES, RATES, color=GREY, lw=0.7, zorder=1)
        axes.set(xscale="log", ylim=(0, 1.02))
        axes.minorticks_off()
        axes.set_xticks(RATES, [f"{rate:.0%}" for rate in RATES])
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    caption = (
        "Share of OOD actions at thresholds of several nominal rates; grey: the nominal rate itself, which "
        f"new actions of the behaviour have. Mean over seeds, band from the lowest to the highest seed.{left}"
    )
    return figure, caption
