"""The figures of a report: learning curves, losses, return distributions, heat maps, calibration."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ramac.reporting.drawing import BLUE, COLOURS, PANELS, RED, Picture, foremost, grid, legend, lowest, slug
from ramac.reporting.formats import decimals
from ramac.reporting.groups import Group, natural, short
from ramac.reporting.runs import number
from ramac.statistics import cvar

STYLES = ("-", "--", "-.", ":")  # for print in grey
POINTS = 200  # of a line: more do not show in a panel of five centimetres
COLUMNS = 3  # of small multiples across a page
MAPS = 6  # pairs of heat maps: a page's height


def band(axes: Any, steps: np.ndarray, values: np.ndarray, index: int, label: str) -> None:
    """Mean of values [seeds, steps] as a line, lowest to highest as a band."""
    kept = slice(None, None, max(1, len(steps) // POINTS))
    steps, values = steps[kept], values[:, kept]
    colour, style = COLOURS[index % len(COLOURS)], STYLES[index % len(STYLES)]
    axes.plot(steps, values.mean(0), style, color=colour, lw=1.4, label=label)
    if len(values) > 1:
        axes.fill_between(steps, values.min(0), values.max(0), color=colour, alpha=0.15, lw=0)


def common(series: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Series of (steps, values) on the steps that all have: steps [S] and values [series, S]."""
    steps = sorted(set.intersection(*(set(part.tolist()) for part, _ in series)))
    found = [dict(zip(part.tolist(), values.tolist(), strict=True)) for part, values in series]
    return np.array(steps), np.array([[each[step] for step in steps] for each in found]).reshape(len(series), -1)


def learning_curves(groups: Sequence[Group], alpha: float) -> Picture | None:
    """Mean and CVaR of the evaluation episodes over updates; None where there was one evaluation only."""
    several = [g for g in groups if any(len(np.unique(run.episodes["step"])) > 1 for run in g.runs)]
    if not several:
        return None
    drawn, left = foremost(several, len(COLOURS), alpha)
    figure, panels = grid(2, 2, 2.6)
    statistics: dict[str, Callable[[np.ndarray], float]] = {
        "mean return": lambda part: float(part.mean()),
        f"CVaR_{alpha:g} of the return": lambda part: float(cvar(part, alpha)),
    }
    for axes, (title, statistic) in zip(panels, statistics.items(), strict=True):
        for index, group in enumerate(drawn):
            band(axes, *common([curve(run, statistic) for run in group.runs]), index, group.label)
        axes.set(ylabel=title, xlabel="updates")
    legend(figure, panels, [group.label for group in drawn])
    caption = f"Evaluation during training: mean over seeds, band from the lowest to the highest seed.{left}"
    return Picture(slug("learning-curves", groups[0].task), groups[0].task, caption, figure)


def curve(run: Any, statistic: Callable[[np.ndarray], float]) -> tuple[np.ndarray, np.ndarray]:
    """Steps of a run's evaluations, and the statistic of each one's returns."""
    steps = np.unique(run.episodes["step"])
    return steps, np.array([statistic(run.episodes["return"][run.episodes["step"] == step]) for step in steps])


def losses(groups: Sequence[Group], alpha: float) -> Picture | None:
    """Each loss over updates; None where no run has any."""
    drawn, left = foremost([g for g in groups if any(run.metrics for run in g.runs)], len(COLOURS), alpha)
    names = sorted({name for g in drawn for run in g.runs for name in run.metrics if name.startswith("loss_")})
    if not names:
        return None
    figure, panels = grid(len(names), COLUMNS, 1.9)
    for axes, name in zip(panels, names, strict=True):
        for index, group in enumerate(drawn):
            found = [tuple(run.metrics[name].T) for run in group.runs if name in run.metrics]
            if found and len((line := common(found))[0]):
                band(axes, *line, index, group.label)
        axes.set(title=name, xlabel="updates")
    legend(figure, panels, [group.label for group in drawn])
    caption = f"Losses: mean over seeds, band from the lowest to the highest seed. Scales differ between methods.{left}"
    return Picture(slug("losses", groups[0].task), groups[0].task, caption, figure)


def distributions(groups: Sequence[Group], alpha: float) -> Picture:
    """Histogram of each group's returns, the worst share in another colour, mean and CVaR marked."""
    drawn, left = foremost(groups, PANELS, alpha)
    edges = np.histogram_bin_edges(np.concatenate([group.column("return") for group in drawn]), 40)
    figure, panels = grid(len(drawn), COLUMNS, 1.5, sharex=True)
    for axes, group in zip(panels, drawn, strict=True):
        returns = np.sort(group.column("return"))
        share = np.histogram(returns, edges)[0] / len(returns)
        worst = np.histogram(returns[: max(1, round(alpha * len(returns)))], edges)[0] / len(returns)
        axes.stairs(share, edges, fill=True, color=BLUE, label="episodes")
        axes.stairs(worst, edges, fill=True, color=RED, hatch="////", ec="white", lw=0, label=f"worst {alpha:.0%}")
        axes.axvline(returns.mean(), color="black", lw=1.1, label="mean")
        axes.axvline(float(cvar(returns, alpha)), color="black", lw=1.1, ls="--", label=f"CVaR_{alpha:g}")
        axes.set_title(f"{group.label} (n = {len(returns)})", wrap=True)
    figure.supylabel("share of episodes", fontsize=8)
    for axes in lowest(panels, COLUMNS):
        axes.tick_params(labelbottom=True)  # which a shared axis hides above an empty place
        axes.set_xlabel("return (reward units)")
    legend(figure, panels)
    caption = f"Returns of the last step's episodes, all seeds together.{left}"
    return Picture(slug("distributions", groups[0].task), groups[0].task, caption, figure)


def heat_maps(groups: Sequence[Group], alpha: float) -> Picture | None:
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
    statistics = {"mean": lambda part: float(part.mean()), f"CVaR_{alpha:g}": lambda part: float(cvar(part, alpha))}
    for side, (title, statistic) in enumerate(statistics.items()):
        values = np.full((len(drawn), len(rows), len(columns)), np.nan)
        for index, part in enumerate(drawn.values()):
            for group in part:
                place = rows.index(group.keys[first]), columns.index(group.keys[second])
                values[(index, *place)] = statistic(group.column("return"))
        for index, name in enumerate(drawn):
            axes = panels[2 * index + side]
            heat_map(axes, values[index], np.nanmin(values), np.nanmax(values))
            axes.set_title(f"{title}, {name}" if name else title)
            axes.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=90 if max(map(len, columns)) > 6 else 0)
            axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
            axes.set(xlabel=titles[second], ylabel=titles[first])
    caption = "Episode returns, one colour scale per statistic, dark is low; blank where there is no run."
    caption += f" {left} other combinations of {', '.join(titles[key] for key in rest)} left out." if left else ""
    return Picture(slug("heat-maps", groups[0].task), groups[0].task, caption, figure)


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


def calibration(groups: Sequence[Group], alpha: float) -> Picture | None:
    """Predicted and realised discounted returns, at each level; None where no run was asked (`ramac doctor RUN`)."""
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
    return Picture(slug("calibration", groups[0].task), groups[0].task, caption, figure)
