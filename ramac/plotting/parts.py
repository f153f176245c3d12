"""Parts of figures: histograms, quantile functions, labels of dots."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from ramac.plotting.style import GREY, RED
from ramac.statistics import cvar

BINS = 10, 30  # of a histogram of few and of many episodes, five centimetres wide
CLOSE = np.array([45, 20])  # pixels between two dots, at 100 per inch: width and height of a label


def split(returns: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """The worst `alpha` of returns [n], at least one of them, and the others; in ascending order."""
    ordered = np.sort(returns)
    count = max(1, round(alpha * len(ordered)))
    return ordered[:count], ordered[count:]


def edges_of(samples: Sequence[np.ndarray], alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Edges of bins for the worst `alpha` of several samples of returns, and for the others."""
    worst, rest = (np.concatenate(part) for part in zip(*(split(each, alpha) for each in samples), strict=True))
    rest = rest if len(rest) else worst
    left, right = (np.histogram_bin_edges(part, int(np.clip(len(part) // 3, *BINS))) for part in (worst, rest))
    return left, right


def return_histogram(
    left: Axes, right: Axes, returns: np.ndarray, edges: tuple[np.ndarray, np.ndarray], alpha: float, colour: str
) -> None:
    """Share of episodes by return: the worst `alpha` on a logarithmic scale at the left, the others at the right.

    One episode among thousands is seen at the left. Mean and CVaR are marked where they lie.
    """
    worst, rest = split(returns, alpha)
    counts = [np.histogram(part, edge)[0] for part, edge in zip((worst, rest), edges, strict=True)]
    low = 0.4 / len(returns)  # below one episode
    shares = np.maximum(counts[0] / len(returns), low)
    look = {"fill": True, "color": RED, "hatch": "////", "ec": "white", "lw": 0}
    left.stairs(shares, edges[0], baseline=low, label=f"worst {alpha:.3g}", **look)
    left.set(yscale="log", ylim=(low, 1.5 * max(alpha, 1 / len(returns))))
    right.stairs(counts[1] / len(returns), edges[1], fill=True, color=colour, label="the others")
    left.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    left.yaxis.set_minor_formatter(NullFormatter())
    right.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g} %")
    for name, value, line in (("mean", returns.mean(), "-"), (f"CVaR_{alpha:g}", float(cvar(returns, alpha)), "--")):
        side = left if value <= worst[-1] else right
        side.axvline(value, color="black", lw=1, ls=line, label=name)


def quantile_plot(axes: Axes, value: np.ndarray, **style: Any) -> None:
    """Draw quantile functions [*R, L], given at the midpoints of L equally likely cells."""
    level = (np.arange(value.shape[-1]) + 0.5) / value.shape[-1]
    axes.plot(level, value.T, **style)
    axes.set(xlabel="level (0 is the worst)", xlim=(0, 1))


def pit_histogram(axes: Axes, curve: np.ndarray) -> None:
    """Histogram of the probability integral transform, from its distribution function at the bin edges."""
    bins = len(curve) - 1
    axes.bar((np.arange(bins) + 0.5) / bins, np.diff(curve) * bins, width=1 / bins, color=GREY, edgecolor="white")
    axes.axhline(1, color="black", lw=1.2, ls="--", label="calibrated")
    axes.set(xlabel="predicted probability of less (PIT)", xlim=(0, 1))
    axes.legend(loc="lower center")


def label_dots(axes: Axes, rows: Sequence[Mapping[str, Any]], colour: str, side: int) -> None:
    """Write values of a dial, or measures, above their dots, on the right (side 1) or on the left (-1).

    Dots that are too close for labels of their own share one.
    """
    groups: list[tuple[np.ndarray, Mapping[str, Any], list[str]]] = []
    figure = axes.get_figure(root=True)
    close = CLOSE * (figure.dpi / 100 if figure else 1)
    for row in rows:
        name = row["risk"] if row["dial"] is None else f"{row['dial']:g}"
        place = axes.transData.transform((row["cvar"], row["mean"]))
        names = next((names for other, _, names in groups if (np.abs(place - other) < close).all()), None)
        if names is None:
            groups.append((place, row, [name]))
        elif name not in names:
            names.append(name)
    box = {"facecolor": "white", "alpha": 0.7, "lw": 0, "pad": 0.5}
    text = {"color": colour, "ha": "left" if side > 0 else "right", "bbox": box}
    for _, row, names in groups:
        place, offset = (row["cvar"], row["mean"]), (7 * side, 7 if len(names) == 1 else 18)
        axes.annotate(", ".join(names), place, offset, textcoords="offset points", zorder=5, **text)


def spread(row: Mapping[str, Any], key: str) -> tuple[float, float]:
    """How far both ends of an interval are from its middle; nothing where there is none."""
    ends = row[f"{key}_low"], row[f"{key}_high"]
    return (0.0, 0.0) if None in ends else (row[key] - ends[0], ends[1] - row[key])
