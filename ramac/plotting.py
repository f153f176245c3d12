"""Figures of a run. Colours are from Okabe and Ito's palette, which colour-blind readers can tell apart."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import ramac.system.backend  # noqa: F401  (before matplotlib)

# isort: split
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from ramac.statistics import cvar
from ramac.system.files import whole
from ramac.text import for_label

BLUE, ORANGE, RED, GREY = "#0072B2", "#E69F00", "#D55E00", "#777777"
TAIL = 0.1  # shaded share of worst episodes
CLOSE = np.array([45, 20])  # pixels between two dots, at 100 per inch: width and height of a label
RETURN = "discounted return (reward units)"
PLAIN = matplotlib.style.context("default")  # figures are the same whatever the user's matplotlibrc says


@PLAIN
def return_figure(returns: np.ndarray, behaviour: np.ndarray, horizon: int | None, title: str, path: Path) -> None:
    """Histograms of the policy's and the behaviour's episode returns, each with its worst tenth shaded."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    figure.suptitle(title, fontsize=10)
    edges = np.histogram_bin_edges(np.concatenate([returns, behaviour]), 40)
    upper, lower = figure.subplots(2, 1, sharex=True)
    for axes, part, name, colour in ((upper, returns, "policy", BLUE), (lower, behaviour, "behaviour data", ORANGE)):
        return_histogram(axes, part, edges, TAIL, colour)
        numbers = f"mean {part.mean():.0f}, CVaR {TAIL} {float(cvar(part, TAIL)):.0f}"
        axes.set_title(f"{name}, {len(part)} episodes: {numbers}", fontsize=10)
        axes.set_ylabel("share of episodes")
        axes.legend(fontsize=8)
    over = "" if horizon is None else f" over {horizon} steps"
    lower.set_xlabel(f"return of an episode{over}, hazards included (reward units)")
    save(figure, path)


def return_histogram(axes: Axes, returns: np.ndarray, edges: np.ndarray, alpha: float, colour: str) -> None:
    """Share of episodes by return; the worst `alpha` of them in another colour, mean and CVaR marked."""
    worst = np.sort(returns)[: max(1, round(alpha * len(returns)))]
    share, worst = (np.histogram(part, edges)[0] / len(returns) for part in (returns, worst))
    axes.stairs(share, edges, fill=True, color=colour, label="episodes")
    axes.stairs(worst, edges, fill=True, color=RED, hatch="////", ec="white", lw=0, label=f"worst {alpha:.0%}")
    axes.axvline(returns.mean(), color="black", lw=1.1, label="mean")
    axes.axvline(float(cvar(returns, alpha)), color="black", lw=1.1, ls="--", label=f"CVaR_{alpha:g}")


@PLAIN
def critic_figure(pictures: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]], critic: str, path: Path) -> None:
    """Per question (label, truth [L], learned [R, L], PIT curve): quantile functions, and below the PIT histogram."""
    figure = Figure(figsize=(2.9 * len(pictures), 5.6), layout="constrained")
    figure.suptitle(f"critic={critic}: what it learned against the truth")
    rows: Any = figure.subplots(2, len(pictures), squeeze=False)
    for (label, truth, learned, curve), upper, lower in zip(pictures, *rows, strict=True):
        quantile_plot(upper, learned, color=BLUE, lw=1, alpha=0.7, label="learned")
        quantile_plot(upper, truth, color="black", lw=1.2, ls="--", label="truth")
        upper.set_title(label)
        pit_histogram(lower, curve)
    handles, labels = rows[0][0].get_legend_handles_labels()
    rows[0][0].legend(handles[-2:], labels[-2:], fontsize=8)
    rows[0][0].set_ylabel("return")
    rows[1][0].set_ylabel("density of outcomes")
    save(figure, path)


@PLAIN
def calibration_figure(predicted: np.ndarray, outcome: np.ndarray, curve: np.ndarray, title: str, path: Path) -> None:
    """Predicted and realised quantile functions of discounted returns, and the PIT histogram."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    figure.suptitle(title, fontsize=10)
    left, right = figure.subplots(1, 2)
    quantile_plot(left, np.sort(predicted, None), color=BLUE, label="predicted")
    quantile_plot(left, np.sort(outcome, None), color=ORANGE, label="realised")
    left.axvspan(0, TAIL, color=RED, alpha=0.12, lw=0, label=f"worst {TAIL:.0%}")
    left.set_ylabel(RETURN)
    left.legend(fontsize=8)
    pit_histogram(right, curve)
    right.set_ylabel("density of episodes")
    save(figure, path)


@PLAIN
def estimate_figure(curves: Mapping[str, np.ndarray], title: str, path: Path) -> None:
    """Quantile functions [L] of realised returns and of the estimates of behaviour and policy, with their CVaR."""
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.subplots()
    for (label, value), colour, style in zip(curves.items(), ("black", ORANGE, BLUE), (":", "--", "-"), strict=True):
        tail = float(cvar(value, TAIL))
        quantile_plot(axes, value, color=colour, ls=style, lw=1.8, label=f"{label}: mean {value.mean():.1f}")
        axes.plot([0, TAIL], [tail, tail], color=colour, ls=style, lw=1, marker="|", label=f"CVaR {TAIL:g} {tail:.1f}")
    axes.axvspan(0, TAIL, color="#000000", alpha=0.06, lw=0)
    axes.set_ylabel(RETURN)
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8)
    save(figure, path)


@PLAIN
def frontier_figure(rows: Sequence[Mapping[str, Any]], dial: str, alpha: float, title: str, path: Path) -> None:
    """Mean against CVaR with their intervals: a line through the values of a dial, and dots of runs without one."""
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.subplots()
    turned = sorted((row for row in rows if row["dial"] is not None), key=lambda row: row["dial"])
    single = [row for row in rows if row["dial"] is None]
    kinds = ((turned, BLUE, "o-", f"one run, by {dial}"), (single, RED, "s", "runs of one level"))
    for part, colour, style, name in kinds if single else kinds[:1]:
        x, y = ([row[key] for row in part] for key in ("cvar", "mean"))
        across, up = (np.array([spread(row, key) for row in part]).T for key in ("cvar", "mean"))
        axes.errorbar(x, y, up, across, fmt=style, color=colour, ms=5, lw=1.5, elinewidth=0.6, label=name)
    axes.set(xlabel=f"CVaR {alpha:g} of the return of an episode (reward units)", ylabel="mean return (reward units)")
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8)
    figure.draw_without_rendering()  # the final scale tells which dots are close
    label_dots(axes, turned, BLUE, 1)
    label_dots(axes, single, RED, -1)
    save(figure, path)


def label_dots(axes: Axes, rows: Sequence[Mapping[str, Any]], colour: str, side: int) -> None:
    """Write values of a dial, or measures, above their dots, on the right (side 1) or on the left (-1).

    Dots that are too close for labels of their own share one.
    """
    groups: list[tuple[np.ndarray, Mapping[str, Any], list[str]]] = []
    for row in rows:
        name = row["risk"] if row["dial"] is None else f"{row['dial']:g}"
        place = axes.transData.transform((row["cvar"], row["mean"]))
        names = next((names for other, _, names in groups if (np.abs(place - other) < CLOSE).all()), None)
        if names is None:
            groups.append((place, row, [name]))
        elif name not in names:
            names.append(name)
    box = {"facecolor": "white", "alpha": 0.7, "lw": 0, "pad": 0.5}
    text = {"color": colour, "fontsize": 8, "ha": "left" if side > 0 else "right", "bbox": box}
    for _, row, names in groups:
        place, offset = (row["cvar"], row["mean"]), (7 * side, 7 if len(names) == 1 else 18)
        axes.annotate(", ".join(names), place, offset, textcoords="offset points", zorder=5, **text)


def spread(row: Mapping[str, Any], key: str) -> tuple[float, float]:
    """How far both ends of an interval are from its middle; nothing where there is none."""
    ends = row[f"{key}_low"], row[f"{key}_high"]
    return (0.0, 0.0) if None in ends else (row[key] - ends[0], ends[1] - row[key])


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
    axes.legend(loc="lower center", fontsize=8)


@contextmanager
def missing_glyphs() -> Iterator[None]:
    """Draw a box for a letter that the font lacks, without a warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whatever the path ends in; whole or not at all. No text is taken for a formula.

    Raises OSError that names the file.
    """
    for text in figure.findobj(Text):
        text.set(text="\n".join(map(for_label, text.get_text().split("\n"))), parse_math=False)
    with missing_glyphs(), whole(path) as part:
        figure.savefig(part, dpi=130, format="png")
