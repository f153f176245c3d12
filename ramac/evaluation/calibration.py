"""Calibration of return distributions: CRPS, probability integral transform, predicted against realised returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ramac.agent import Agent
from ramac.evaluation.rollout import Evaluation
from ramac.risk import edges, midpoints
from ramac.statistics import cvar, interval
from ramac.tasks import Task

LEVELS = 200  # quantiles per predicted distribution
TOLERANCE = 0.01  # PIT tolerance, in standard deviations of the realised returns
KOLMOGOROV = 1.36  # 95 % of samples of size n from the predicted law have miscalibration below 1.36 / sqrt(n)


def quantile_levels(count: int) -> Tensor:
    """Midpoints of `count` equally likely cells of [0, 1]: [count], float64."""
    return midpoints(edges(count, torch.empty(0, dtype=torch.float64)))


def cvar_name(alpha: float) -> str:
    """`mean` for alpha 1, else `CVaR 0.1`."""
    return "mean" if alpha == 1 else f"CVaR {alpha:g}"


def crps(predicted: Tensor, outcome: Tensor) -> Tensor:
    """Mean continuous ranked probability score E|X - y| - E|X - X'| / 2: [*b, L], outcomes [*b, M] -> [*b].

    Lower is better; the law of the outcomes has the lowest. Paper: Gneiting & Raftery 2007.
    """
    own, other = (torch.cdist(predicted[..., None], value[..., None], p=1) for value in (predicted, outcome))
    return other.mean((-2, -1)) - own.mean((-2, -1)) / 2


@dataclass(frozen=True)
class Calibration:
    """Predicted return distributions against outcomes, in the same units.

    `predicted` [R, L]: equally likely returns. `outcome` [R, M]. `tolerance`: an outcome this close to an atom of the
    prediction counts as equal to it.
    """

    predicted: Tensor
    outcome: Tensor
    tolerance: float
    bins: int = 10

    @cached_property
    def curve(self) -> Tensor:
        """Distribution function of the probability integral transform (PIT) at 0, 1/bins, ..., 1: [bins + 1].

        F(y) is spread evenly over [F(y - tolerance), F(y + tolerance)] (Czado et al. 2009). A calibrated prediction
        gives the diagonal.
        """
        count, ordered = self.predicted.shape[-1], self.predicted.sort(-1).values.contiguous()
        low = torch.searchsorted(ordered, (self.outcome - self.tolerance).contiguous()) / count
        high = torch.searchsorted(ordered, (self.outcome + self.tolerance).contiguous(), right=True) / count
        level = torch.linspace(0, 1, self.bins + 1, dtype=self.predicted.dtype)
        inside = (level - low.unsqueeze(-1)) / (high - low).unsqueeze(-1).clamp_min(1e-9)
        return inside.clamp(0, 1).mean((0, 1))

    @property
    def miscalibration(self) -> float:
        """Largest distance of `curve` from the diagonal: 0 is perfect, 1 the worst."""
        return (self.curve - torch.linspace(0, 1, self.bins + 1, dtype=self.curve.dtype)).abs().max().item()

    def cvar(self, alphas: Sequence[float]) -> list[dict[str, Any]]:
        """CVaR of the pooled predictions and of the outcomes, with a 95 % bootstrap interval over the outcomes.

        The first row, alpha 1, is the mean.
        """
        values, rows = {"predicted": self.predicted.numpy().ravel(), "realised": self.outcome.numpy().ravel()}, []
        for alpha in (1.0, *alphas):
            low, high = interval([values["realised"]], partial(cvar, alpha=alpha))
            read = {key: float(cvar(value, alpha)) for key, value in values.items()}
            rows.append({"alpha": alpha, **read, "low": low, "high": high})
        return rows

    def report(self, alphas: Sequence[float]) -> dict[str, Any]:
        """Number of episodes R (M = 1), miscalibration, what chance alone explains of it at 95 %, and the CVaR rows."""
        found = {"episodes": len(self.outcome), "miscalibration": self.miscalibration}
        return {**found, "miscalibration_of_chance": KOLMOGOROV / len(self.outcome) ** 0.5, "cvar": self.cvar(alphas)}


def of_episodes(predicted: np.ndarray, outcome: np.ndarray) -> Calibration:
    """Calibration of one prediction per episode: predicted [n, L], realised returns [n]."""
    law = torch.as_tensor(predicted).double()
    return Calibration(law, torch.as_tensor(outcome).unsqueeze(-1), TOLERANCE * float(outcome.std()))


class Watcher:
    """First observations and actions of episodes, and their discounted returns."""

    def __init__(self, gamma: float) -> None:
        self.gamma, self.horizon = gamma, 0  # horizon: steps of the longest truncated episode
        self.observation, self.action, self.returns = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()

    def __call__(
        self, step: int, observation: np.ndarray, action: np.ndarray, reward: np.ndarray, cut: np.ndarray
    ) -> None:
        """As `ramac.evaluation.rollout.Watch`; step 0 starts the next set of episodes."""
        if step == 0:
            self.observation.append(observation.copy())
            self.action.append(action.copy())
            self.returns.append(np.zeros(len(reward)))
        self.returns[-1] += self.gamma**step * reward
        self.horizon = step + 1 if cut.any() else self.horizon


def compare(
    agent: Agent, task: Task, evaluation: Evaluation, gamma: float, seed: int
) -> tuple[Calibration, dict[str, Any]]:
    """Play the evaluation's episodes; compare their discounted returns with what the critic predicted for them.

    The prediction is the level-by-level ensemble mean of Z at an episode's first state and action. `beyond_horizon` of
    the report: gamma^T, the share of a steady reward after the last step of truncated episodes.
    """
    watcher = Watcher(gamma)
    evaluation.run(agent, task, seed, watcher)
    predicted = agent.returns(np.concatenate(watcher.observation), np.concatenate(watcher.action), LEVELS)
    calibration = of_episodes(predicted, np.concatenate(watcher.returns))
    beyond = gamma**watcher.horizon if watcher.horizon else 0.0
    return calibration, {"gamma": gamma, "beyond_horizon": beyond, **calibration.report(evaluation.alphas)}
