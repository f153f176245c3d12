"""Heat maps of mean and CVaR over two settings."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ramac.reporting.formats import decimals
from ramac.reporting.groups import Group, natural, short
from ramac.reporting.plots.curves import measures
from ramac.reporting.plots.panels import ABOVE, grid, sizes
from ramac.text import for_label

MAPS = 6  # pairs of heat maps: a page's height
LEVELS = 30  # of a setting: more rows are longer than a page
CONTRAST = 0.179  # luminance at which black and white letters contrast equally (WCAG 2.2, contrast ratio)


def heat_maps(groups: Sequence[Group], alpha: float) -> tuple[Figure, str] | None:
    """Mean and CVaR over the two keys with most levels; None where most pairs of levels have no run."""
    levels = {key: sorted({group.keys[key] for group in groups}, key=natural) for key in groups[0].keys}
    levels = {key: found for key, found in levels.items() if len(found) > 1}
    mapped = [key for key in levels if len(levels[key]) <= LEVELS]
    if len(mapped) < 2:
        return None
    first, second = sorted(mapped, key=lambda key: -len(levels[key]))[:2]
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
    shown = [group for part in drawn.values() for group in part]
    caption = (
        f"Returns of {sizes(shown)}, all seeds together, one colour scale per statistic, dark is low; blank where "
    )
    caption += "there is no run. Intervals are in the table."
    caption += f" {left} other combinations of {', '.join(titles[key] for key in rest)} left out." if left else ""
    return figure, caption


def heat_map(axes: Any, values: np.ndarray, low: float, high: float) -> None:
    """Cells [rows, columns] by colour and number, in black or white letters, whichever contrasts more."""
    half = 0 if high > low else 1  # one value alone has the colour of the middle
    scale, colours = Normalize(low - half, high + half), matplotlib.colormaps["cividis"]
    axes.pcolormesh(np.ma.masked_invalid(values), cmap=colours, norm=scale, edgecolors="white", lw=0.5)
    axes.grid(visible=False)
    size, style = 7 if max(values.shape) <= 8 else 5, f"z.{decimals([low, high])}f"
    for (row, column), value in np.ndenumerate(values):
        if math.isfinite(value):
            letters = "white" if luminance(colours(scale(value))) < CONTRAST else "black"
            text = {"ha": "center", "va": "center", "fontsize": size, "color": letters}
            axes.text(column + 0.5, row + 0.5, f"{value:{style}}", **text)
    axes.invert_yaxis()


def luminance(colour: Sequence[float]) -> float:
    """Relative luminance of a colour in sRGB, 0 to 1 (WCAG 2.2)."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
