"""What the figures of a report share: panels, the choice of groups, legends, and the numbers in captions."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.figure import Figure

from ramac.plotting import COLUMN, TEXT
from ramac.reporting.formats import counted
from ramac.reporting.groups import Group
from ramac.statistics import cvar
from ramac.text import for_label

ABOVE = 34  # letters above a panel
COLUMNS = 3  # small multiples across a page


def grid(panels: int, columns: int, height: float, **shared: Any) -> tuple[Figure, list[Any]]:
    """A figure with this number of panels, as wide as the text or as a column, and the panels."""
    columns = min(columns, panels)
    rows = math.ceil(panels / columns)
    figure = Figure(figsize=(TEXT if columns > 1 else COLUMN, height * rows + 0.4), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, **shared).flat)
    for spare in axes[panels:]:
        spare.set_visible(False)
    return figure, axes[:panels]


def foremost(groups: Sequence[Group], count: int, alpha: float) -> tuple[list[Group], str]:
    """The `count` groups of highest CVaR in their own order, and a sentence on the others."""
    if len(groups) <= count:
        return list(groups), ""
    chosen = {id(group) for group in sorted(groups, key=lambda group: -float(cvar(group.returns, alpha)))[:count]}
    left = len(groups) - count
    drawn = [group for group in groups if id(group) in chosen]
    return drawn, f" The {count} groups of highest CVaR_{alpha:g}; {left} left out."


def sizes(groups: Sequence[Group], episodes: bool = True) -> str:
    """What a figure rests on: `4 groups of 3 seeds, n = 300 episodes each`."""
    parts = [f"of {span([len({run.settings['seed'] for run in group.runs}) for group in groups], 'seed')}"]
    if episodes:
        parts.append(f"n = {span([len(group.returns) for group in groups], 'episode')}{' each' * (len(groups) > 1)}")
    return f"{counted(len(groups), 'group')} {', '.join(parts)}"


def span(numbers: Sequence[int], noun: str) -> str:
    """A number with its noun, or the lowest and the highest."""
    low, high = min(numbers), max(numbers)
    return counted(low, noun) if low == high else f"{low} to {counted(high, noun)}"


def line_label(group: Group) -> str:
    """The group's label in a legend."""
    return for_label(group.label, 60)


def legend(figure: Figure, panels: Iterable[Any], order: Iterable[Group] = ()) -> None:
    """One legend below the panels, each label once, in the order of the groups where they are given."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    named = [name for group in order if (name := line_label(group)) in found]
    if labels := [*named, *(name for name in found if name not in named)]:
        letters = max(len(line) for label in labels for line in label.split("\n"))
        across = figure.get_figwidth() / TEXT * 110  # letters of a line
        columns = int(max(1, min(4, across // (letters + 8))))
        handles = [found[label] for label in labels]
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
