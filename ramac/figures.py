"""Figures of a run. Colours are from Okabe and Ito's palette, which colour-blind readers can tell apart."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from ramac.evaluate import cvar

BLUE, ORANGE, RED, GREY = "#0072B2", "#E69F00", "#D55E00", "#777777"
TAIL = 0.1  # shaded share of worst episodes


def bandit_figure(
    logged: np.ndarray, rewards: np.ndarray, learned: np.ndarray, share: dict[str, float], title: str, path: Path
) -> None:
    """Logged actions by reward, and learned actions over them, with the mass of each region. Actions [*, 2]."""
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    hazard = rewards < 0
    order = np.arange(min(len(logged), 3000))
    paid, hit = order[~hazard[order]], order[hazard[order]]
    dots = left.scatter(*logged[paid].T, c=rewards[paid], s=5, cmap="viridis")
    left.scatter(*logged[hit].T, color=RED, s=16, marker="x", linewidths=1, label="hazard, reward about -50")
    figure.colorbar(dots, ax=left, label="reward of logged action", shrink=0.8)
    left.set_title("data: safe centre, risky ring")
    left.legend(loc="lower left", fontsize=8)
    right.scatter(*logged[order].T, color="#CCCCCC", s=4, label="data")
    right.scatter(*learned[:3000].T, color=BLUE, s=5, alpha=0.6, label="learned policy")
    text = "centre {:.1%}, ring {:.1%}, off the support {:.1%}".format(*share.values())
    right.set_title(f"{title}\n{text}", fontsize=10)
    right.legend(loc="lower left", fontsize=8)
    for axes in (left, right):
        for radius in (0.3, 0.75, 1.1):  # the regions that are counted
            axes.add_patch(Circle((0, 0), radius, fill=False, color=GREY, lw=0.6, ls=":"))
        axes.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal", xlabel="action 1", ylabel="action 2")
    save(figure, path)


def return_figure(returns: np.ndarray, behaviour: np.ndarray, horizon: int, title: str, path: Path) -> None:
    """Histograms of the policy's and the behaviour's episode returns, each with its worst tenth shaded."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    edges = np.histogram_bin_edges(np.concatenate([returns, behaviour]), 40).tolist()
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.set_title(title, fontsize=10)
    panel(upper, returns, edges, f"policy, {len(returns)} episodes", BLUE)
    panel(lower, behaviour, edges, f"behaviour data, {len(behaviour)} episodes", ORANGE)
    lower.set_xlabel(f"return of an episode over {horizon} steps, hazards included (reward units)")
    save(figure, path)


def panel(axes: Axes, returns: np.ndarray, edges: list[float], label: str, colour: str) -> None:
    """One histogram with mean, CVaR and the worst tenth marked."""
    weights = np.full(len(returns), 1 / len(returns))
    axes.hist(returns, edges, weights=weights, color=colour, alpha=0.85, label=label)
    worst = np.sort(returns)[: max(1, round(TAIL * len(returns)))]
    axes.hist(worst, edges, weights=weights[: len(worst)], color=RED, label=f"worst {TAIL:.0%}")
    axes.axvline(returns.mean(), color="black", lw=1.2, label=f"mean {returns.mean():.0f}")
    tail = cvar(returns, TAIL)
    axes.axvline(tail, color="black", lw=1.2, ls="--", label=f"CVaR {TAIL} {tail:.0f}")
    axes.set_ylabel("share of episodes")
    axes.legend(fontsize=8)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    figure.savefig(path, dpi=130)
