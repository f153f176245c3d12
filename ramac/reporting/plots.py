"""The figures of a report: learning curves, losses, return distributions, heat maps, calibration.

Each function returns a figure of the groups of one task and its caption, None where there is nothing to show.
"""

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ramac.plotting import BLUE, RED
from ramac.reporting.drawing import COLOURS, PANELS, foremost, grid, legend
from ramac.reporting.formats import decimals
from ramac.reporting.groups import Group, natural, short
from ramac.reporting.runs import number
from ramac.statistics import cvar

STYLES = ("-", "--", "-.", ":")  # for print in grey
POINTS = 200  # of a line: more do not show in a panel of five centimetres
COLUMNS = 3  # of small multiples across a page
WIDTH = 44  # letters of a title above a panel; matplotlib's own wrapping reads $ as a formula
MAPS = 6  # pairs of heat maps: a page's height


def measures(alpha: float) -> dict[str, Callable[[Any], float]]:
    """Mean and CVaR of returns, by title."""
    return {"mean": lambda returns: float(np.mean(returns)), f"CVaR_{alpha:g}": lambda part: float(cvar(part, alpha))}


def band(axes: Any, lines: Sequence[pd.Series], index: int, label: str) -> None:
    """Mean of lines (values by step) as a line, lowest to highest as a band, on the steps that all have."""
    frame = pd.concat(lines, axis=1, join="inner").sort_index()
    frame = frame.iloc[:: max(1, len(frame) // POINTS)]
    values, colour = frame.to_numpy(), COLOURS[index % len(COLOURS)]
    style = STYLES[index % len(STYLES)] if len(values) > 1 else "."
    if len(values):
        axes.plot(frame.index, values.mean(1), style, color=colour, lw=1.4, label=label)
        if len(lines) > 1:
            axes.fill_between(frame.index, values.min(1), values.max(1), color=colour, alpha=0.15, lw=0)


def learning_curves(groups: Sequence[Group], alpha: float) -> tuple[Figure, str] | None:
    """Mean and CVaR of the evaluation episodes over gradient steps; None where there was one evaluation only."""
    several = [g for g in groups if any(run.episodes["step"].nunique() > 1 for run in g.runs)]
    if not several:
        return None
    drawn, left = foremost(several, len(COLOURS), alpha)
    figure, panels = grid(2, 2, 2.6)
    for axes, (title, measure) in zip(panels, measures(alpha).items(), strict=True):
        for index, group in enumerate(drawn):
            lines = [run.episodes.groupby("step")["return"].agg(measure) for run in group.runs]
            band(axes, lines, index, group.label)
        axes.set(ylabel=f"{title} of the return", xlabel="gradient steps")
    legend(figure, panels, [group.label for group in drawn])
    return figure, f"Evaluation during training: mean over seeds, band from the lowest to the highest seed.{left}"


def losses(groups: Sequence[Group], alpha: float) -> tuple[Figure, str] | None:
    """Each loss over gradient steps; None where no run has any."""
    drawn, left = foremost([g for g in groups if any(run.metrics for run in g.runs)], len(COLOURS), alpha)
    names = sorted({name for g in drawn for run in g.runs for name in run.metrics if name.startswith("loss_")})
    if not names:
        return None
    figure, panels = grid(len(names), COLUMNS, 1.9)
    for axes, name in zip(panels, names, strict=True):
        for index, group in enumerate(drawn):
            if found := [run.metrics[name] for run in group.runs if name in run.metrics]:
                band(axes, found, index, group.label)
        axes.set(title=name, xlabel="gradient steps")
    legend(figure, panels, [group.label for group in drawn])
    caption = "Losses: mean over seeds, band from the lowest to the highest seed. Scales differ between methods."
    return figure, caption + left


def distributions(groups: Sequence[Group], alpha: float) -> tuple[Figure, str]:
    """Histogram of each group's returns, the worst share in another colour, mean and CVaR marked."""
    drawn, left = foremost(groups, PANELS, alpha)
    edges = np.histogram_bin_edges(np.concatenate([group.returns for group in drawn]), 40)
    figure, panels = grid(len(drawn), COLUMNS, 1.5, sharex=True)
    for axes, group in zip(panels, drawn, strict=True):
        returns = np.sort(group.returns)
        share = np.histogram(returns, edges)[0] / len(returns)
        worst = np.histogram(returns[: max(1, round(alpha * len(returns)))], edges)[0] / len(returns)
        axes.stairs(share, edges, fill=True, color=BLUE, label="episodes")
        axes.stairs(worst, edges, fill=True, color=RED, hatch="////", ec="white", lw=0, label=f"worst {alpha:.0%}")
        axes.axvline(returns.mean(), color="black", lw=1.1, label="mean")
        axes.axvline(float(cvar(returns, alpha)), color="black", lw=1.1, ls="--", label=f"CVaR_{alpha:g}")
        axes.set_title(textwrap.fill(f"{group.label} (n = {len(returns)})", WIDTH))
    figure.supylabel("share of episodes", fontsize=8)
    for axes in panels[-COLUMNS:]:  # the lowest of each column
        axes.tick_params(labelbottom=True)  # a shared axis hides its labels above an empty place
        axes.set_xlabel("return (reward units)")
    legend(figure, panels)
    return figure, f"Returns of the last step's episodes, all seeds together.{left}"


def heat_maps(groups: Sequence[Group], alpha: float) -> tuple[Figure, str] | None:
    """Mean and CVaR over the two keys with most levels; None where most pairs of levels have no run."""
    levels = {key: sorted({group.keys[key] for group in groups}, key=natural) for key in groups[0].keys}
    levels = {key: found for key, found in levels.items() if len(found) > 1}
    if len(levels) < 2:
        return None
    first, second = sorted(levels, key=lambda key: -len(levels[key]))[:2]
    crossed = {(group.keys[first], group.keys[second]) for group in groups}
    if len(crossed) < len(levels[first]) * len(levels[second]) / 2:  # a list drawn as a map, such as recipes by actor
        return None
    rest = [key for key in levels if key not in (first, second)]
    titles = short(list(levels))
    maps: dict[str, list[Group]] = {}
    for group in groups:
        maps.setdefault(", ".join(f"{titles[key]}={group.keys[key]}" for key in rest), []).append(group)
    drawn, left = dict(list(maps.items())[:MAPS]), max(0, len(maps) - MAPS)
    rows, columns = levels[first], levels[second]
    figure, panels = grid(2 * len(drawn), 2, max(1.6, 0.28 * len(rows) + 0.8))
    for side, (title, measure) in enumerate(measures(alpha).items()):
        values = {
            name: pd.Series({(g.keys[first], g.keys[second]): measure(g.returns) for g in part}).unstack()
            for name, part in drawn.items()
        }
        numbers = np.concatenate([each.to_numpy().ravel() for each in values.values()])
        for index, (name, each) in enumerate(values.items()):
            axes = panels[2 * index + side]
            heat_map(axes, each.reindex(rows, columns=columns).to_numpy(), np.nanmin(numbers), np.nanmax(numbers))
            axes.set_title(f"{title}, {name}" if name else title)
            axes.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=90 if max(map(len, columns)) > 6 else 0)
            axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
            axes.set(xlabel=titles[second], ylabel=titles[first])
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
        lines = [line for each in asked for line in each["cvar"]]
        alphas = sorted({number(line, "alpha") for line in lines}, reverse=True)
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
        axes.set_title(f"{group.label}\nmiscalibration {off:.2f}, by chance {chance:.2f}")
    figure.supylabel("discounted return (reward units)", fontsize=8)
    legend(figure, panels)
    caption = (
        "The critic's prediction at the first step against the returns of the evaluation episodes, one pair per seed. "
        f"Miscalibration: distance of the PIT from uniform; by chance: its 95 % bound, means over seeds.{left}"
    )
    return figure, caption
