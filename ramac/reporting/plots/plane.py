"""The plane of mean and CVaR, where a method that is better in both lies above and to the right."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ramac.plotting import COLOURS, GREY, TEXT
from ramac.reporting.formats import counted
from ramac.reporting.groups import Group
from ramac.reporting.plots.panels import legend, line_label, sizes
from ramac.reporting.tables import behaviour
from ramac.statistics import cvar, interval
from ramac.text import for_label

MARKERS = "osD^vPX"
NAMED = 14  # groups of a colour and marker of their own: as many as a legend of a page's width holds in a few lines
SEEDS = 2_000  # dots of runs: more do not show
LABEL = 30  # letters of a label beside a dot
DOT = 6  # points across the mark of a group
NEAR = 5  # points above a dot: a label farther away has a line to it
LINE = {"arrowstyle": "-", "lw": 0.5, "shrinkA": 0}
OFFSETS = [(x, y) for y, x in product((NEAR, -NEAR, 14, -14, 24, -24, 36, -36), (7, -7))]  # points to a label


def pareto(values: np.ndarray) -> np.ndarray:
    """Rows of values [n, 2] that no other row exceeds in one column without being below it in the other, by column 0.

    Of equal rows the first one is kept.
    """
    order = np.lexsort((-values[:, 1], -values[:, 0]))  # highest first; sorted stably
    best = np.maximum.accumulate(np.append(-np.inf, values[order, 1]))[:-1]
    return order[values[order, 1] > best][::-1]


def plane(groups: Sequence[Group], alpha: float) -> tuple[Figure, str] | None:
    """Mean against CVaR: a dot per run, each group's value, and the Pareto front of the groups."""
    values = np.array([(float(cvar(group.returns, alpha)), float(group.returns.mean())) for group in groups])
    front = pareto(values)
    rest = [int(index) for index in np.argsort(-values[:, 0], kind="stable") if index not in set(front.tolist())]
    named = [*front.tolist(), *rest][:NAMED]
    figure = Figure(figsize=(TEXT, 4.2), layout="constrained")
    axes = figure.subplots()
    reference = behaviour(groups, alpha, ())
    draw_rest(axes, [groups[index] for index in range(len(groups)) if index not in named], alpha)
    looks: dict[int, str] = {}
    for place, index in enumerate(sorted(named)):
        turn, colour = divmod(place, len(COLOURS))
        looks[index], marker = COLOURS[colour], MARKERS[(colour + 3 * turn) % len(MARKERS)]
        draw_group(axes, groups[index], values[index], alpha, looks[index], marker)
    for row in reference:
        axes.plot(row["cvar"], row["mean"], "*", color="black", ms=9, ls="none", label="behaviour data", zorder=4)
    axes.set(xlabel=f"CVaR_{alpha:g} of the return of an episode (reward units)", ylabel="mean return (reward units)")
    if len(groups) > 1:
        draw_front(axes, values[front])
    legend(figure, [axes], [groups[index] for index in sorted(named)])
    if len(groups) > 1:
        figure.draw_without_rendering()  # the final scale tells which labels meet
        labels = {groups[index].label: looks.get(index, GREY) for index in front.tolist()}
        label_front(axes, values[front], labels, values[list({*named, *front.tolist()})])
    return figure, caption_of(groups, len(named), len(front), bool(reference), alpha)


def draw_group(axes: Any, group: Group, value: np.ndarray, alpha: float, colour: str, marker: str) -> None:
    """The group's value with intervals of both, and a small dot for each of several runs."""
    if len(group.runs) > 1:
        x, y = seed_dots([group], alpha)
        axes.plot(x, y, marker, color=colour, ms=3, alpha=0.5, mew=0, zorder=2)
    statistics = partial(cvar, alpha=alpha), np.mean
    ends = np.array([interval(group.by_run, statistic) for statistic in statistics])
    bars = np.nan_to_num(np.abs(ends - value[:, None]))
    look = {"color": colour, "ms": DOT, "elinewidth": 0.9, "mec": "white", "mew": 0.5, "zorder": 3}
    axes.errorbar(*value, bars[1][:, None], bars[0][:, None], fmt=marker, label=line_label(group), **look)


def draw_rest(axes: Any, groups: Sequence[Group], alpha: float) -> None:
    """The runs of the groups without a colour of their own, in grey."""
    if groups:
        look = {"color": GREY, "ms": 2.5, "alpha": 0.4, "mew": 0, "zorder": 1}
        axes.plot(*seed_dots(groups, alpha), "o", label=f"{len(groups)} other groups, by run", **look)


def seed_dots(groups: Iterable[Group], alpha: float) -> tuple[list[float], list[float]]:
    """CVaR and mean of each run."""
    runs = [run.returns for group in groups for run in group.runs]
    runs = runs[:: -(-len(runs) // SEEDS)]
    return [float(cvar(part.ravel(), alpha)) for part in runs], [float(part.mean()) for part in runs]


def draw_front(axes: Any, values: np.ndarray) -> None:
    """The Pareto front of values [n, 2] as steps: the best mean that is reached with at least this CVaR."""
    (left, _), (low, _) = axes.get_xlim(), axes.get_ylim()
    limits = axes.get_xlim(), axes.get_ylim()
    x, y = np.append(left, values[:, 0]), np.append(values[0, 1], values[:, 1])
    axes.step(np.append(x, x[-1]), np.append(y, low), where="pre", color="black", lw=0.8, ls="--", zorder=2.5,
              label="Pareto front of the groups")  # fmt: skip
    axes.set(xlim=limits[0], ylim=limits[1])


def label_front(axes: Any, values: np.ndarray, labels: Mapping[str, str], all_values: np.ndarray) -> None:
    """Write labels, each with its colour, beside dots [n, 2] where they cover none of all dots [m, 2] and no label.

    A label that has no room is in the legend only.
    """
    frame = axes.bbox
    dots, half = axes.transData.transform(all_values), DOT / 2 / 72 * axes.figure.dpi
    taken: list[Any] = []
    for value, (label, colour) in zip(values, labels.items(), strict=True):
        for across, up in OFFSETS:
            box = {"facecolor": "white", "alpha": 0.7, "lw": 0, "pad": 0.5}
            side = "left" if across > 0 else "right"
            text = axes.annotate(for_label(label, LABEL, 1), value, (across, up), textcoords="offset points", ha=side,
                                 va="center", fontsize=7, bbox=box, color=colour, zorder=5)  # fmt: skip
            extent = text.get_window_extent()
            inside = frame.containsx(extent.x0) and frame.containsx(extent.x1)
            inside = inside and frame.containsy(extent.y0) and frame.containsy(extent.y1)
            if (
                inside
                and not extent.padded(half).count_contains(dots)
                and not any(extent.overlaps(other) for other in taken)
            ):
                taken.append(extent)
                if abs(up) > NEAR:
                    axes.annotate("", value, (across, up), textcoords="offset points", arrowprops=LINE)
                break
            text.remove()


def caption_of(groups: Sequence[Group], named: int, front: int, reference: bool, alpha: float) -> str:
    """What the plane shows."""
    text = (
        f"Mean and CVaR_{alpha:g} of {sizes(groups)}. Large: a group, all seeds together, with 95 % bootstrap "
        "intervals over the episodes of its runs. "
    )
    if any(len(group.runs) > 1 for group in groups):
        text += "Small: its runs. "
    if len(groups) > named:
        text += f"Grey: the runs of the {len(groups) - named} other groups, of lower CVaR. "
    if len(groups) > 1:
        lie = "lies" if front == 1 else "lie"
        text += f"Dashed: the Pareto front, on which {counted(front, 'group')} {lie}, whatever the intervals. "
    return (text + ("Star: the logged episodes." if reference else "")).rstrip()
