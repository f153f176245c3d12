"""`ramac doctor RUN`: the returns a run's critic predicted, against those that its evaluation episodes realised."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tensordict import TensorDict

from ramac.checkpoint import load
from ramac.errors import InputError
from ramac.evaluation.calibration import miscalibration, pit
from ramac.evaluation.problems import levels
from ramac.experiment.folder import settings_of
from ramac.experiment.run import whole_number
from ramac.experiment.unfinished import warn
from ramac.registry import evaluations
from ramac.statistics import cvar, interval
from ramac.system.files import write_json
from ramac.tasks import configured

LEVELS = 200  # of each predicted distribution


class Watcher:
    """First observations and actions of episodes, and their discounted returns."""

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma
        self.observation: list[np.ndarray] = []
        self.action: list[np.ndarray] = []
        self.returns: list[np.ndarray] = []
        self.horizon = 0  # steps of the longest episode that was cut off

    def __call__(
        self, step: int, observation: np.ndarray, action: np.ndarray, reward: np.ndarray, cut: np.ndarray
    ) -> None:
        """As `ramac.evaluation.rollout.Watch`; step 0 begins the next set of episodes."""
        if step == 0:
            self.observation.append(observation.copy())
            self.action.append(action.copy())
            self.returns.append(np.zeros(len(reward)))
        self.returns[-1] += self.gamma**step * reward
        self.horizon = step + 1 if cut.any() else self.horizon


def configuration(run: Path) -> tuple[dict[str, Any], float, int]:
    """Settings, discount and seed of a run folder. Raises InputError when it is none."""
    try:
        settings = settings_of(run)
        return settings, float(settings["loss"]["td"]["gamma"]), whole_number(settings, "seed", 0)
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes of yaml, OmegaConf and us
        raise InputError(f"{run} is no run folder: {' '.join(str(error).split())}") from error


def compare(run: Path, episodes: int | None = None) -> dict[str, Any]:
    """Repeat the run's evaluation episodes, or play so many; write `calibration.json` and `calibration.png` into it.

    Each episode has one prediction: the level-by-level mean over members of Z at its first state and action. Raises
    InputError when the folder cannot be used.
    """
    from ramac.plotting import calibration_figure

    if "name" not in settings_of(run)["loss"].get("td", {}):
        raise InputError(f"{run} was trained without loss=[td,...]: its critic predicts nothing")
    (config, gamma, seed), agent = configuration(run), load(run)
    try:
        settings = evaluations.plain(config["evaluation"])
        evaluation = evaluations.build({**settings, "episodes": episodes or settings["episodes"]})
        task = configured(config)
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{run}/config.yaml cannot be used: {error}") from error
    if not os.access(run, os.W_OK):
        raise InputError(f"{run} cannot be written to")
    warn(run)
    watcher = Watcher(gamma)
    evaluation.run(agent, task, seed, watcher)
    outcome = np.concatenate(watcher.returns)
    first = {"observation": np.concatenate(watcher.observation), "action": np.concatenate(watcher.action)}
    pair = TensorDict({key: torch.as_tensor(value) for key, value in first.items()}, [len(outcome)])
    with torch.no_grad():
        value = agent.critic(pair, levels(LEVELS).float().expand(len(outcome), -1))["value"]
    predicted = value.mean(-2).double()  # [episodes, LEVELS]
    curve = pit(predicted, torch.as_tensor(outcome).unsqueeze(-1), 0.01 * float(outcome.std()), bins=10)
    pooled = predicted.flatten().numpy()
    lines = [line(alpha, pooled, outcome) for alpha in (1.0, *evaluation.alphas)]
    report = {
        "run_dir": str(run),
        "episodes": len(outcome),
        "gamma": gamma,
        "beyond_horizon": gamma**watcher.horizon if watcher.horizon else 0.0,
        "miscalibration": miscalibration(curve),
        "miscalibration_of_chance": 1.36 / len(outcome) ** 0.5,  # Kolmogorov's 95 % bound for n independent outcomes
        "cvar": lines,
    }
    write_json(run / "calibration.json", report)
    calibration_figure(pooled, outcome, curve.numpy(), f"{run.name}: {len(outcome)} episodes", run / "calibration.png")
    return report


def line(alpha: float, predicted: np.ndarray, outcome: np.ndarray) -> dict[str, float]:
    """CVaR_alpha (1: the mean) predicted and realised, with a 95 % bootstrap interval over episodes."""
    low, high = interval([outcome], partial(cvar, alpha=alpha))
    read = {"predicted": float(cvar(predicted, alpha)), "realised": float(cvar(outcome, alpha))}
    return {"alpha": alpha, **read, "low": low, "high": high}


def show(report: dict[str, Any]) -> None:
    """Print the comparison."""
    console = Console()
    title = "{run_dir}: discounted return from the first step, {episodes} episodes, gamma {gamma:g}".format(**report)
    table = Table(title=escape(title), title_justify="left")
    for column in ("", "predicted", "realised", "95 % interval of realised"):
        table.add_column(column, justify="left" if column == "" else "right")
    for row in report["cvar"]:
        name = "mean" if row["alpha"] == 1 else f"CVaR {row['alpha']:g}"
        inside = row["low"] <= row["predicted"] <= row["high"]
        predicted = f"{row['predicted']:.2f}" if inside else f"[red]{row['predicted']:.2f}[/red]"
        table.add_row(name, predicted, f"{row['realised']:.2f}", f"{row['low']:.2f} to {row['high']:.2f}")
    console.print(table)
    worst = min(row["alpha"] for row in report["cvar"])
    if worst * report["episodes"] < 5:
        count = f"{worst * report['episodes']:.1f}"
        console.print(
            f"CVaR {worst:g} rests on {count} episodes; more: ramac doctor RUN episodes=1000", highlight=False
        )
    found, chance = report["miscalibration"], report["miscalibration_of_chance"]
    verdict = "more than chance explains" if found > chance else "within chance"
    console.print(
        f"calibration: the PIT is up to {found:.3f} from uniform, {verdict} ({chance:.3f} at 95 %)", highlight=False
    )
    if (beyond := report["beyond_horizon"]) > 0.01:
        text = f"episodes end at the horizon, predictions do not: {beyond:.0%} of a steady reward lies beyond it"
        console.print(text, highlight=False)
    console.print(f"figure and figures: [bold]{escape(report['run_dir'])}/calibration.*[/bold]", highlight=False)
