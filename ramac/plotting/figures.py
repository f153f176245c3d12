"""Figures of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ramac.plotting.parts import edges_of, label_dots, pit_histogram, quantile_plot, return_histogram, spread
from ramac.plotting.style import BLUE, ORANGE, RED, TAIL, TEXT, save, styled
from ramac.statistics import cvar

RETURN = "discounted return (reward units)"


@styled()
def return_figure(returns: np.ndarray, behaviour: np.ndarray, horizon: int | None, title: str, path: Path) -> None:
    """Histograms of the policy's and the behaviour's episode returns, the worst tenth of each on its own scale."""
    figure = Figure(figsize=(TEXT, 4), layout="constrained")
    figure.suptitle(title)
    parts = {"policy": (returns, BLUE), "behaviour data": (behaviour, ORANGE)}
    edges = edges_of([part for part, _ in parts.values()], TAIL)
    panels = figure.subplots(2, 2, sharex="col", width_ratios=(1, 1.5))
    for (left, right), (name, (part, colour)) in zip(panels, parts.items(), strict=True):
        return_histogram(left, right, part, edges, TAIL, colour)
        numbers = f"mean {part.mean():.4g}, CVaR {TAIL} {float(cvar(part, TAIL)):.4g}"
        left.set_title(f"{name}, {len(part)} episodes: {numbers}", loc="left")
        right.legend(*(a + b for a, b in zip(*(x.get_legend_handles_labels() for x in (left, right)), strict=True)))
    over = "" if horizon is None else f" over {horizon} steps"
    panels[-1, 1].set_xlabel(f"return of an episode{over}, hazards included (reward units)")
    figure.supylabel("share of episodes (left: logarithmic)")
    save(figure, path)


@styled()
def critic_figure(pictures: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]], critic: str, path: Path) -> None:
    """Per question (label, truth [L], learned [R, L], PIT curve): quantile functions, and below the PIT histogram."""
    figure = Figure(figsize=(1.9 * len(pictures), 3.8), layout="constrained")
    figure.suptitle(f"critic={critic}: what it learned against the truth")
    rows: Any = figure.subplots(2, len(pictures), squeeze=False)
    for (label, truth, learned, curve), upper, lower in zip(pictures, *rows, strict=True):
        quantile_plot(upper, learned, color=BLUE, lw=1, alpha=0.7, label="learned")
        quantile_plot(upper, truth, color="black", lw=1.2, ls="--", label="truth")
        upper.set_title(label)
        pit_histogram(lower, curve)
    handles, labels = rows[0][0].get_legend_handles_labels()
    rows[0][0].legend(handles[-2:], labels[-2:])
    rows[0][0].set_ylabel("return")
    rows[1][0].set_ylabel("density of outcomes")
    save(figure, path)


@styled()
def calibration_figure(predicted: np.ndarray, outcome: np.ndarray, curve: np.ndarray, title: str, path: Path) -> None:
    """Predicted and realised quantile functions of discounted returns, and the PIT histogram."""
    figure = Figure(figsize=(TEXT, 3), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    quantile_plot(left, np.sort(predicted, None), color=BLUE, label="predicted")
    quantile_plot(left, np.sort(outcome, None), color=ORANGE, label="realised")
    left.axvspan(0, TAIL, color=RED, alpha=0.12, lw=0, label=f"worst {TAIL:.0%}")
    left.set_ylabel(RETURN)
    left.legend()
    pit_histogram(right, curve)
    right.set_ylabel("density of episodes")
    save(figure, path)


@styled()
def estimate_figure(curves: Mapping[str, np.ndarray], title: str, path: Path) -> None:
    """Quantile functions [L] of realised returns and of the estimates of behaviour and policy, with their CVaR."""
    figure = Figure(figsize=(TEXT, 4.4), layout="constrained")
    axes = figure.subplots()
    for (label, value), colour, style in zip(curves.items(), ("black", ORANGE, BLUE), (":", "--", "-"), strict=True):
        tail = float(cvar(value, TAIL))
        quantile_plot(axes, value, color=colour, ls=style, lw=1.8, label=f"{label}: mean {value.mean():.1f}")
        axes.plot([0, TAIL], [tail, tail], color=colour, ls=style, lw=1, marker="|", label=f"CVaR {TAIL:g} {tail:.1f}")
    axes.axvspan(0, TAIL, color="#000000", alpha=0.06, lw=0)
    axes.set_ylabel(RETURN)
    axes.set_title(title)
    axes.legend()
    save(figure, path)


@styled()
def frontier_figure(rows: Sequence[Mapping[str, Any]], dial: str, alpha: float, title: str, path: Path) -> None:
    """Mean against CVaR with their intervals: a line through the values of a dial, and dots of runs without one."""
    figure = Figure(figsize=(TEXT, 4.4), layout="constrained")
    axes = figure.subplots()
    turned = sorted((row for row in rows if row["dial"] is not None), key=lambda row: row["dial"])
    single = [row for row in rows if row["dial"] is None]
    kinds = ((turned, BLUE, "o-", f"one run, by {dial}"), (single, RED, "s", "runs of one level"))
    for part, colour, style, name in kinds if single else kinds[:1]:
        x, y = ([row[key] for row in part] for key in ("cvar", "mean"))
        across, up = (np.array([spread(row, key) for row in part]).T for key in ("cvar", "mean"))
        axes.errorbar(x, y, up, across, fmt=style, color=colour, ms=5, lw=1.5, elinewidth=0.6, label=name)
    axes.set(xlabel=f"CVaR {alpha:g} of the return of an episode (reward units)", ylabel="mean return (reward units)")
    axes.set_title(title)
    axes.legend()
    figure.draw_without_rendering()  # the final scale tells which dots are close
    label_dots(axes, turned, BLUE, 1)
    label_dots(axes, single, RED, -1)
    save(figure, path)
