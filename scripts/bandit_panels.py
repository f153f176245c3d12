"""Table and panels of recipes on the bandit, from finished runs.

    python scripts/bandit_panels.py FIGURE.png RUN...

Rows are grouped by recipe and actor, seeds beside one another; a panel shows 3000 actions of the first seed's policy.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Circle

import ramac
from ramac.plotting import BLUE, GREY, RED, save
from ramac.tasks.bandit import CENTRE, RING, Bandit

ORDER = [
    "bc",
    "iql",
    "idql",
    "td3bc",
    "rebrac",
    "cql",
    "dql",
    "cvae_ql",
    "fql",
    "codac",
    "oraac",
    "oraac_diff",
    "oraac_flow",
    "rafmac",
    "radac",
]
PANELS = ["cvae_ql", "dql", "fql", "oraac", "oraac_diff", "oraac_flow", "radac"]  # the paper's seven policies
PLACES = ("mass_centre", "mass_ring", "mass_off_support")


def name_of(summary: dict[str, Any]) -> str:
    """`dql` with a VAE actor is the paper's CVAE-QL."""
    return "cvae_ql" if summary["recipe"] == "dql" and summary["actor"] == "vae" else summary["recipe"]


def table(runs: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown, seeds separated by slashes."""
    lines = [
        "| recipe | cell | centre % | ring % | OOD % | mean return | CVaR_0.1 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in sorted(runs, key=ORDER.index):
        seeds = sorted(runs[name], key=lambda run: run["seed"])
        first = seeds[0]
        cells = [" / ".join(f"{100 * run[place]:.0f}" for run in seeds) for place in PLACES]
        cells.append(" / ".join(f"{run['return_mean']:.2f}" for run in seeds))
        cells.append(" / ".join(f"{run['return_cvar']['0.1']:.1f}" for run in seeds))
        cell = f"{first['actor']} x {first['critic']} x {first['risk']}"
        lines.append(f"| `{name}` | {cell} | {' | '.join(cells)} |")
    return "\n".join(lines)


def panels(runs: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """The data, and the first seed's policy of each of the paper's methods, in one frame each."""
    figure = Figure(figsize=(13, 7), layout="constrained")
    grid: Any = figure.subplots(2, 4, sharex=True, sharey=True)
    data = Bandit().dataset()
    logged, rewards = data.log.action[:3000], data.returns[:3000]
    hit = rewards < 0
    first, *rest = grid.flat
    dots = first.scatter(*logged[~hit].T, c=rewards[~hit], s=4, cmap="viridis")
    first.scatter(*logged[hit].T, color=RED, s=14, marker="x", linewidths=1, label="hazard (-50)")
    first.legend(loc="lower left", fontsize=8)
    figure.colorbar(dots, ax=grid[:, 0], location="left", shrink=0.5, label="reward of logged action")
    first.set_title("(a) data", fontsize=10)
    for letter, axes, name in zip("bcdefgh", rest, PANELS, strict=True):
        run = min(runs[name], key=lambda run: run["seed"])
        torch.manual_seed(0)
        action = ramac.load(run["run_dir"]).act(np.zeros((3000, 1), np.float32))
        axes.scatter(*logged.T, color="#CCCCCC", s=3)
        axes.scatter(*action.T, color=BLUE, s=4, alpha=0.6)
        share = "centre {:.0%}, ring {:.0%}, OOD {:.0%}".format(*(run[place] for place in PLACES))
        axes.set_title(f"({letter}) {name}: {run['risk']}\n{share}", fontsize=10)
    for axes in grid.flat:
        for radius in (CENTRE, *RING):
            axes.add_patch(Circle((0, 0), radius, fill=False, color=GREY, lw=0.6, ls=":"))
        axes.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal")
    for axes in grid[1]:
        axes.set_xlabel("action 1")
    for axes in grid[:, 0]:
        axes.set_ylabel("action 2")
    save(figure, path)


def main(figure: str, *folders: str) -> None:
    """Print the table of the runs in `folders` and write the panels to `figure`."""
    runs = defaultdict(list)
    for folder in folders:
        summary = json.loads((Path(folder) / "summary.json").read_text(encoding="utf-8"))
        runs[name_of(summary)].append({**summary, "run_dir": folder})
    print(table(runs))
    panels(runs, Path(figure))


if __name__ == "__main__":
    main(*sys.argv[1:])
