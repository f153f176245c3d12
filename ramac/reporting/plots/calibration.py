"""Predictions of critics against realised returns."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ramac.plotting import BLUE, RED
from ramac.reporting.groups import Group
from ramac.reporting.plots.panels import ABOVE, COLUMNS, foremost, grid, legend, sizes, span
from ramac.reporting.runs import number
from ramac.text import for_label

GROUPS = 12  # a page's height


def calibration(groups: Sequence[Group], alpha: float) -> tuple[Figure, str] | None:
    """Predicted and realised discounted returns, at each level; None where no run has calibration.json."""
    drawn, left = foremost([g for g in groups if any(run.calibration for run in g.runs)], GROUPS, alpha)
    if not drawn:
        return None
    figure, panels = grid(len(drawn), COLUMNS, 1.9, sharey=True)
    for axes, group in zip(panels, drawn, strict=True):
        draw_levels(axes, asked := [run.calibration for run in group.runs if run.calibration])
        off, chance = (np.mean([number(each, f"miscalibration{end}") for each in asked]) for end in ("", "_of_chance"))
        axes.set_title(f"{for_label(group.label, ABOVE)}\nmiscalibration {off:.2f}, by chance {chance:.2f}")
    figure.supylabel("discounted return (reward units)")
    legend(figure, panels)
    counts = [number(run.calibration, "episodes") for group in drawn for run in group.runs if run.calibration]
    known = [int(count) for count in counts if math.isfinite(count)]
    n = f", n = {span(known, 'episode')} each" if known else ""
    caption = (
        "The critic's prediction at the first step against the returns of the evaluation episodes, one pair per seed, "
        f"realised with 95 % bootstrap intervals over episodes: {sizes(drawn, episodes=False)}{n}. Miscalibration: "
        f"distance of the PIT from uniform; by chance: its 95 % bound, means over seeds.{left}"
    )
    return figure, caption


def draw_levels(axes: Any, asked: Sequence[Mapping[str, Any]]) -> None:
    """Predicted and realised returns at each level of CVaR, the seeds beside each other."""
    alphas = sorted({number(line, "alpha") for each in asked for line in each["cvar"]}, reverse=True)
    apart = min(0.12, 0.8 / len(asked))
    points = [
        (alphas.index(number(line, "alpha")) + apart * (index - (len(asked) - 1) / 2), line)
        for index, each in enumerate(asked)
        for line in each["cvar"]
    ]
    at = [place for place, _ in points]
    low, high, realised, predicted = (
        [number(line, key) for _, line in points] for key in ("low", "high", "realised", "predicted")
    )
    axes.vlines(at, low, high, color=BLUE, lw=1)
    axes.plot(at, realised, "o", color=BLUE, ms=3, label="realised, 95 % interval")
    axes.plot(at, predicted, "D", color=RED, ms=3, mfc="none", label="predicted")
    axes.set_xticks(range(len(alphas)), ["mean" if level == 1 else f"CVaR_{level:g}" for level in alphas])
    axes.tick_params(axis="x", rotation=30)
