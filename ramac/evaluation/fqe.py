"""Estimates of policies on one dataset by fitted-Q evaluation: returns, a check on the behaviour, distance."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict

from ramac.agent import Agent
from ramac.critics import Critic
from ramac.data import Dataset, Log
from ramac.data.ood import Detector
from ramac.errors import InputError, at_least
from ramac.evaluation.calibration import miscalibration, pit
from ramac.evaluation.fitted import fit, fresh, of_behaviour, of_policy
from ramac.evaluation.problems import levels
from ramac.evaluation.realised import line
from ramac.statistics import LEVEL, RESAMPLES, cvar

LEVELS = 100  # of each estimated distribution
CLOSE = 0.1  # of the returns' deviation: an error that does not matter, however many episodes show it; doctor: 0.05
DRAWS = 8  # of the policy's action per first state
STARTS = 500  # first states at most: more would narrow an interval that is not the largest error
STATES = 5_000  # in which actions are compared, as many as the detector's


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draws of its own for what is inside; torch's global streams go on as if nothing had been drawn."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@dataclass
class Estimator:
    """Estimates on one dataset; what does not depend on the policy is fitted once.

    `alphas`: tails of the report; `steps`: updates of each fit; `critic`: entry or node of the registry.
    """

    data: Dataset
    gamma: float
    alphas: Sequence[float]
    seed: int
    steps: int
    critic: str | Mapping[str, Any]
    device: torch.device

    def __post_init__(self) -> None:
        if not 0 <= self.gamma <= 1:
            raise InputError(f"gamma must be in [0, 1], got {self.gamma}")
        try:
            at_least(1, steps=self.steps)
        except ValueError as error:
            raise InputError(str(error)) from error

    @property
    def log(self) -> Log:
        """The episodes that are judged: the held-out ones, all where there are none."""
        return self.data.log if self.data.held_out is None else self.data.held_out

    @cached_property
    def episodes(self) -> np.ndarray:
        """Indices of the episodes whose first states are asked: [n]."""
        count, random = len(self.log.start), np.random.default_rng(self.seed)
        return np.sort(random.choice(count, min(STARTS, count), replace=False))

    @cached_property
    def detector(self) -> Detector | None:
        """Of out-of-distribution actions; None where the data are too few."""
        try:
            return Detector(self.data.log)
        except InputError:
            return None

    def fitted(self, transitions: TensorDict, label: str) -> Critic:
        """A fresh critic fitted to transitions with next actions."""
        agent = fresh(self.critic, self.data.spec, self.device)
        return fit(agent, transitions, gamma=self.gamma, steps=self.steps, seed=self.seed, label=label)

    @torch.no_grad()
    def read(self, critic: Critic, observation: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Quantiles at the midpoints of 100 cells for observation [n, O], action [n, A]: members [E, n, 100]."""
        pair = {"observation": torch.as_tensor(observation), "action": torch.as_tensor(action)}
        batch = TensorDict(pair, [len(observation)]).to(self.device)
        level = levels(LEVELS).float().to(self.device).expand(len(observation), -1)
        return critic(batch, level)["value"].movedim(1, 0).double().cpu().numpy()

    @cached_property
    def behaviour(self) -> dict[str, Any]:
        """The same estimator on the logged actions, against what the episodes returned: is it to be trusted?"""
        log, chosen = self.log, self.episodes
        with seeded(self.seed, self.device):
            critic = self.fitted(of_behaviour(self.data.transitions, self.gamma), "estimate of the behaviour")
            first, last = log.start[chosen], log.stop[chosen] - 1
            predicted, end = (
                self.read(critic, log.observation[rows], log.action[rows]).mean(0) for rows in (first, last)
            )
        outcome, completed = self.completed(end)
        tolerance = 0.01 * float(outcome.std())  # as in ramac.evaluation.realised
        curve = pit(torch.as_tensor(predicted), torch.as_tensor(outcome).unsqueeze(-1), tolerance, bins=10)
        lines: list[dict[str, Any]] = [line(alpha, predicted.ravel(), outcome) for alpha in (1.0, *self.alphas)]
        for row in lines:
            close = abs(row["predicted"] - row["realised"]) <= CLOSE * float(outcome.std())
            row["met"] = close or row["low"] <= row["predicted"] <= row["high"]
        return {
            "episodes": len(outcome), "held_out": self.data.held_out is not None, "cvar": lines, "completed": completed,
            "miscalibration": miscalibration(curve),
            "miscalibration_of_chance": 1.36 / len(outcome) ** 0.5,  # Kolmogorov's 95 % bound
            "quantiles": cells(predicted), "realised": np.sort(outcome).tolist(),
        }  # fmt: skip

    def completed(self, end: np.ndarray) -> tuple[np.ndarray, float]:
        """Discounted returns [n] of the chosen episodes, and the mean share gamma^T that lies beyond the cuts.

        A cut episode lacks what would have followed: a draw from `end` [n, 100], the estimate at its last step, less
        the reward there, stands for it. Comparing only the terminated ones would leave out the long, good episodes.
        """
        log, chosen, random = self.log, self.episodes, np.random.default_rng(self.seed)
        last, length = log.stop[chosen] - 1, (log.stop - log.start)[chosen]
        cut = ~log.terminated[last] & (self.gamma > 0)
        drawn = end[np.arange(len(end)), random.integers(LEVELS, size=len(end))]
        rest = np.where(cut, self.gamma ** (length - 1) * (drawn - log.reward[last]), 0)
        return log.returns_to_go(self.gamma)[log.start[chosen]] + rest, float((cut * self.gamma**length).mean())

    def policy(self, agent: Agent) -> dict[str, Any]:
        """Mean and CVaR of the policy's discounted return from the first states, as it acts.

        The interval is over first states only; the estimator's own error is not in it. The members share their targets,
        so their range is a lower bound of that error.
        """
        observation = self.log.observation[self.log.start[self.episodes]].repeat(DRAWS, 0)
        with seeded(self.seed, self.device):
            transitions = of_policy(self.data.transitions, agent.act, self.steps)
            critic = self.fitted(transitions, "estimate of the policy")
            value = self.read(critic, observation, agent.act(observation))
        mixed, *members = (mixture(part) for part in (value.mean(0), *value))
        alphas = (1.0, *self.alphas)
        low, high = interval(mixed, alphas, self.seed)
        lines = []
        for index, alpha in enumerate(alphas):
            each = [float(cvar(member.ravel(), alpha)) for member in members]
            row = {
                "alpha": alpha,
                "estimate": float(cvar(mixed.ravel(), alpha)),
                "low": low[index],
                "high": high[index],
            }
            lines.append({**row, "member_low": min(each), "member_high": max(each)})
        return {"starts": len(mixed), "cvar": lines, "quantiles": cells(mixed)}

    def distance(self, agent: Agent) -> dict[str, Any]:
        """How far the policy's actions are from those logged in the same states, the box being [-1, 1]."""
        log, random = self.log, np.random.default_rng(self.seed)
        rows = np.sort(random.choice(len(log.reward), min(STATES, len(log.reward)), replace=False))
        scaling = agent.actor.scaling
        with seeded(self.seed, self.device):
            action = agent.act(log.observation[rows])
            ours, logged = (scaling.to_unit(torch.as_tensor(a).to(self.device)) for a in (action, log.action[rows]))
            apart = (ours - logged).square().mean(-1).sqrt().mean().item()
            detector = self.detector
            ood = None if detector is None else detector.report(agent.act, self.data.held_out, self.seed)
        return {"action_rms": apart, "ood": ood}


def mixture(value: np.ndarray) -> np.ndarray:
    """Quantiles [n DRAWS, 100] of each state's draws -> of the state's mixture [n, 100], means of cells."""
    pooled = np.sort(value.reshape(-1, DRAWS * value.shape[-1]), -1)
    return pooled.reshape(len(pooled), value.shape[-1], DRAWS).mean(-1)


def cells(value: np.ndarray) -> list[float]:
    """Quantiles [n, 100] of n states -> of their mixture, means of 100 cells, which keep CVaR at whole hundredths."""
    return np.sort(value, None).reshape(value.shape[-1], -1).mean(-1).tolist()


def interval(value: np.ndarray, alphas: Sequence[float], seed: int) -> tuple[list[float], list[float]]:
    """95 % bootstrap interval over states of CVaR at each alpha of the mixture of value [n, 100]: lows, highs.

    One sort serves all resamples: a resample is a weight per state.
    """
    count, random = len(value), np.random.default_rng(seed)
    order = np.argsort(value, axis=None)
    state, ordered = order // value.shape[1], value.ravel()[order]
    found = []
    for weight in random.multinomial(count, np.full(count, 1 / count), RESAMPLES):
        share = np.cumsum(weight[state]) / value.size
        found.append([np.diff(np.minimum(share, alpha), prepend=0) @ ordered / alpha for alpha in alphas])
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low.tolist(), high.tolist()
