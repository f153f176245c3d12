"""Figures: one style for all of them (`ramac.mplstyle`), the figures of a run, and parts of figures."""

import ramac.system.backend  # noqa: F401  (before matplotlib)

# isort: split
from ramac.plotting.figures import calibration_figure, critic_figure, estimate_figure, frontier_figure, return_figure
from ramac.plotting.parts import label_dots, quantile_plot, return_histogram
from ramac.plotting.style import (
    BLUE,
    COLOURS,
    COLUMN,
    DATES,
    GREY,
    ORANGE,
    RED,
    STYLE,
    TEXT,
    Figure,
    missing_glyphs,
    save,
    styled,
)

__all__ = [
    "BLUE", "COLOURS", "COLUMN", "DATES", "GREY", "ORANGE", "RED", "STYLE", "TEXT", "Figure", "calibration_figure",
    "critic_figure", "estimate_figure", "frontier_figure", "label_dots", "missing_glyphs", "quantile_plot",
    "return_figure", "return_histogram", "save", "styled",
]  # fmt: skip
