"""Figures of a run. Colours are from Okabe and Ito's palette, which colour-blind readers can tell apart."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ramac.statistics import cvar

BLUE, ORANGE, RED, GREY = "#0072B2", "#E69F00", "#D55E00", "#777777"
TAIL = 0.1  # shaded share of worst episodes


def return_figure(returns: np.ndarray, behaviour: np.ndarray, horizon: int | None, title: str, path: Path) -> None:
    """Histograms of the policy's and the behaviour's episode returns, each with its worst tenth shaded."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    edges = np.histogram_bin_edges(np.concatenate([returns, behaviour]), 40).tolist()
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.set_title(title, fontsize=10)
    panel(upper, returns, edges, f"policy, {len(returns)} episodes", BLUE)
    panel(lower, behaviour, edges, f"behaviour data, {len(behaviour)} episodes", ORANGE)
    over = "" if horizon is None else f" over {horizon} steps"
    lower.set_xlabel(f"return of an episode{over}, hazards included (reward units)")
    save(figure, path)


def panel(axes: Axes, returns: np.ndarray, edges: list[float], label: str, colour: str) -> None:
    """One histogram with mean, CVaR and the worst tenth marked."""
    weights = np.full(len(returns), 1 / len(returns))
    axes.hist(returns, edges, weights=weights, color=colour, alpha=0.85, label=label)
    worst = np.sort(returns)[: max(1, round(TAIL * len(returns)))]
    axes.hist(worst, edges, weights=weights[: len(worst)], color=RED, label=f"worst {TAIL:.0%}")
    axes.axvline(returns.mean(), color="black", lw=1.2, label=f"mean {returns.mean():.0f}")
    tail = float(cvar(returns, TAIL))
    axes.axvline(tail, color="black", lw=1.2, ls="--", label=f"CVaR {TAIL} {tail:.0f}")
    axes.set_ylabel("share of episodes")
    axes.legend(fontsize=8)


def doctor_figure(pictures: list[tuple[str, Tensor, Tensor, Tensor]], critic: str, path: Path) -> None:
    """Per question: learned quantile functions [R, L] over the true one [L], and below the histogram of the PIT."""
    figure = Figure(figsize=(2.9 * len(pictures), 5.6), layout="constrained")
    figure.suptitle(f"critic={critic}: what it learned against the truth")
    rows: Any = figure.subplots(2, len(pictures), squeeze=False)
    for (label, truth, learned, curve), upper, lower in zip(pictures, *rows, strict=True):
        level = (np.arange(len(truth)) + 0.5) / len(truth)
        upper.plot(level, learned.T, color=BLUE, lw=1, alpha=0.7, label="learned")
        upper.plot(level, truth, color="black", lw=1.2, ls="--", label="truth")
        upper.set(title=label, xlabel="level (0 is the worst)", xlim=(0, 1))
        pit_bars(lower, curve.numpy())
        lower.legend(loc="lower center", fontsize=8)
    handles, labels = rows[0][0].get_legend_handles_labels()
    rows[0][0].legend(handles[-2:], labels[-2:], fontsize=8)
    rows[0][0].set_ylabel("return")
    rows[1][0].set_ylabel("density of outcomes")
    save(figure, path)


def calibration_figure(predicted: np.ndarray, outcome: np.ndarray, curve: np.ndarray, title: str, path: Path) -> None:
    """Predicted and realised quantile functions of discounted returns, and the histogram of the PIT."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    figure.suptitle(title, fontsize=10)
    left, right = figure.subplots(1, 2)
    for value, colour, label in ((predicted, BLUE, "predicted"), (outcome, ORANGE, "realised")):
        left.plot((np.arange(len(value)) + 0.5) / len(value), np.sort(value), color=colour, label=label)
    left.axvspan(0, TAIL, color=RED, alpha=0.12, lw=0, label=f"worst {TAIL:.0%}")
    left.set(xlabel="level (0 is the worst)", ylabel="discounted return (reward units)", xlim=(0, 1))
    left.legend(fontsize=8)
    pit_bars(right, curve)
    right.legend(loc="lower center", fontsize=8)
    right.set_ylabel("density of episodes")
    save(figure, path)


def pit_bars(axes: Axes, curve: np.ndarray) -> None:
    """Histogram of the probability integral transform, given its distribution function at bin edges."""
    bins = len(curve) - 1
    axes.bar((np.arange(bins) + 0.5) / bins, np.diff(curve) * bins, width=1 / bins, color=GREY, edgecolor="white")
    axes.axhline(1, color="black", lw=1.2, ls="--", label="calibrated")
    axes.set(xlabel="predicted probability of less (PIT)", xlim=(0, 1))


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    figure.savefig(path, dpi=130)
