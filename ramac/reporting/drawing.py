"""What the figures of a report share: size, colours, legends, files."""

import io
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from ramac.plotting import BLUE, ORANGE, RED
from ramac.reporting.groups import Group
from ramac.statistics import cvar

COLOURS = (BLUE, RED, "#009E73", "#CC79A7", ORANGE, "#56B4E9", "#000000")  # Okabe and Ito's but yellow, pale as a line
PANELS = 24  # of small multiples: a page's height
PRINT: dict[Any, Any] = {
    "font.size": 8, "axes.titlesize": 8, "legend.fontsize": 8, "axes.spines.top": False, "axes.spines.right": False,
    "pdf.fonttype": 42,  # fonts embedded as TrueType, as journals ask
    "svg.fonttype": "path",  # letters as outlines: the same everywhere, no font needed
    "svg.hashsalt": "ramac",  # the same file for the same numbers
    "text.parse_math": False,  # a $ in a setting is a dollar
}  # fmt: skip


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


def slug(*parts: str) -> str:
    """A file name."""
    return re.sub(r"[^\w.]+", "-", "-".join(filter(None, parts))).strip("-")


def foremost(groups: Sequence[Group], count: int, alpha: float) -> tuple[list[Group], str]:
    """The `count` groups of highest CVaR in their own order, and a sentence on the others."""
    if len(groups) <= count:
        return list(groups), ""
    ranked = sorted(groups, key=lambda group: -float(cvar(group.returns, alpha)))[:count]
    left = len(groups) - count
    return [g for g in groups if g in ranked], f" The {count} groups of highest CVaR_{alpha:g}; {left} left out."


def legend(figure: Figure, panels: Iterable[Any], order: Sequence[str] = ()) -> None:
    """One legend below the panels, each label once, in the order of the groups' labels where they are given."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    labels = [label for label in order or found if label in found]
    if labels:
        columns = max(1, min(4, 100 // (max(map(len, labels)) + 8)))  # a line of the figure holds about 100 letters
        handles = [found[label] for label in labels]
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)


def files(figure: Figure, name: str) -> dict[str, bytes]:
    """The figure as PDF and SVG, by file name."""
    found = {}
    with matplotlib.rc_context(PRINT):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once, not for each format
        for kind, undated in (("pdf", {"CreationDate": None}), ("svg", {"Date": None})):
            file = io.BytesIO()
            figure.savefig(file, format=kind, metadata=undated)
            found[f"{name}.{kind}"] = file.getvalue()
    return found
