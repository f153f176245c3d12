"""Distributions of returns, the worst share on a scale of its own."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from ramac.plotting import BLUE, COLUMN, TEXT, return_histogram
from ramac.plotting.parts import edges_of
from ramac.reporting.groups import Group
from ramac.reporting.plots.panels import foremost, legend, sizes
from ramac.text import for_label

GROUPS = 12  # two beside each other: a page's height
LETTERS = 46  # above two panels


def distributions(groups: Sequence[Group], alpha: float) -> tuple[Figure, str]:
    """Histograms of each group's returns: the worst share in a panel of its own, the others, mean and CVaR marked."""
    drawn, left_out = foremost(groups, GROUPS, alpha)
    edges = edges_of([group.returns for group in drawn], alpha)
    across = min(2, len(drawn))
    rows = math.ceil(len(drawn) / across)
    figure = Figure(figsize=((COLUMN, TEXT)[across - 1], 1.35 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, 2 * across, squeeze=False, sharex="col", width_ratios=(1, 1.5) * across)
    pairs = list(panels.reshape(-1, 2))
    for (left, right), group in zip(pairs, drawn, strict=False):
        return_histogram(left, right, group.returns, edges, alpha, BLUE)
        left.set_title(for_label(f"{group.label} (n={len(group.returns)})", LETTERS, 1), loc="left")
    for spare in panels.flat[2 * len(drawn) :]:
        spare.set_visible(False)
    for left, right in pairs[: len(drawn)][-across:]:  # the lowest of each column
        for axes in (left, right):
            axes.tick_params(labelbottom=True)  # a shared axis hides its labels above an empty place
        right.set_xlabel("return (reward units)")
    figure.supylabel("share of the episodes")
    legend(figure, panels.flat)
    caption = (
        f"Returns of the evaluation episodes, all seeds together: {sizes(drawn)}. Left of each pair: the worst "
        f"{alpha:.3g} of the episodes, on a logarithmic scale that shows a single one; right: the others. All pairs "
        "have the same axes of returns."
    )
    return figure, caption + left_out
