"""Distributional fitted-Q evaluation: the returns of a policy, estimated from logged transitions alone.

Paper: Le et al. 2019, Batch Policy Learning under Constraints; distributional: Bellemare et al. 2017; repeated on
resampled episodes: Hao et al. 2021, Bootstrapping Fitted Q-Evaluation for Off-Policy Inference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from ramac.agent import Agent
from ramac.data import Act, Dataset, Log
from ramac.data.ood import Detector
from ramac.errors import InputError
from ramac.evaluation.calibration import of_episodes
from ramac.losses.temporal import TD
from ramac.registry import critics, trainers
from ramac.statistics import combined_interval, cvar, cvar_terms
from ramac.system.runtime import progress_bar, seeded

DECAY = 0.8  # of the target network; 0.95 would leave a third of the initial error: docs/results/offline.md
# the batch size of the critic check, the learning rate of the trainer
SETTINGS = {"batch_size": 128, "critic_lr": 1e-3, "average_decay": DECAY}
CHUNK = 2**12  # states per call of a policy
LEVELS = 100  # quantiles per estimated distribution
CLOSE = 0.1  # deviations of the returns: a smaller error is met, however narrow the interval; critic check: 0.05
DRAWS = 8  # actions of the policy per first state
STARTS = 500  # first states at most: more would only narrow an interval that is not the largest error
STATES = 5_000  # states in which actions are compared, as many as the detector's


class FittedQ(TD):
    """TD loss of independent fits, one per ensemble member: each has its own target and its own bootstrap sample.

    Next actions come with the transitions; `weight` [B, E] is how often a transition is in a member's sample.
    """

    def __init__(self, gamma: float) -> None:
        super().__init__(gamma=gamma, aggregation="own")  # no minimum: pessimism would be a bias
        self.in_keys.extend([("next", "action"), "weight"])

    def next_pair(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> TensorDict:
        return tensordict.get("next").select("observation", "action")

    def forward(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> Tensor:
        with torch.no_grad():
            returns = self.returns(tensordict, agent, target)
        return agent.critic.standard_regress(tensordict, returns, tensordict.get("weight"))


def left_over(gamma: float, steps: int) -> float:
    """Share of a constant initial error that remains at most after `steps` gradient steps.

    (1 - (1 - decay)(1 - gamma))^steps: the target network moves by 1 - decay per step, a backup shrinks the error by
    gamma.
    """
    return (1 - (1 - DECAY) * (1 - gamma)) ** steps


def behaviour_transitions(transitions: TensorDict, gamma: float) -> TensorDict:
    """The transitions [T] with a logged next action or none needed; the last step of a truncated episode has neither.

    Raises InputError when none is left.
    """
    followed, terminated = (transitions.get(("next", key)).squeeze(-1) for key in ("followed", "terminated"))
    kept = transitions if gamma == 0 else transitions[followed | terminated]
    if not len(kept):
        raise InputError("every logged step is cut off: there is no next action to estimate the behaviour from")
    return kept


def policy_transitions(transitions: TensorDict, act: Act, steps: int) -> TensorDict:
    """The transitions [T] with one next action each from the policy, as the log has one each from the behaviour.

    At most as many as `steps` gradient steps use, drawn by torch's global generator.
    """
    rows = torch.randperm(len(transitions))[: steps * SETTINGS["batch_size"]]
    kept: Any = transitions[rows]
    states = kept.get(("next", "observation")).cpu().split(CHUNK)
    action = np.concatenate([act(part.numpy()) for part in states])
    return kept.set(("next", "action"), torch.from_numpy(action).to(kept.get("action")))


@dataclass
class Estimator:
    """Estimates on one dataset; what does not depend on the policy is fitted once. Raises InputError.

    `alphas`: CVaR levels of the report. `fits`: independent fits, each of `steps` gradient steps on its own bootstrap
    sample of the episodes, trained at once as the ensemble of `critic`, an entry or node of the registry.
    """

    data: Dataset
    gamma: float
    alphas: Sequence[float]
    seed: int
    steps: int
    fits: int
    critic: str | Mapping[str, Any]
    device: torch.device
    quiet: bool = False

    @property
    def log(self) -> Log:
        """The held-out episodes, or all of them where none are held out."""
        return self.data.log if self.data.held_out is None else self.data.held_out

    @cached_property
    def episodes(self) -> np.ndarray:
        """Indices of the episodes whose first states are used: [n]."""
        count, random = len(self.log.start), np.random.default_rng(self.seed)
        return np.sort(random.choice(count, min(STARTS, count), replace=False))

    @cached_property
    def detector(self) -> Detector | None:
        """Detector of out-of-distribution actions; None where there are too few data."""
        try:
            return Detector(self.data.log, self.data.spec.low, self.data.spec.high)
        except InputError:
            return None

    @cached_property
    def transitions(self) -> TensorDict:
        """The transitions [T] with `weight` [T, E]: how often each fit's bootstrap sample has their episode."""
        log, random = self.data.log, np.random.default_rng(self.seed)
        count = len(log.start)
        drawn = random.multinomial(count, np.full(count, 1 / count), self.fits)  # [E, episodes]
        weight = torch.from_numpy(drawn.T[log.episode].astype(np.float32))
        return self.data.transitions.copy().set("weight", weight)

    def fit(self, transitions: TensorDict, label: str) -> Agent:
        """The target network of a new critic fitted to transitions [T] with next actions, and an unused actor.

        Draws from torch's global generator. Raises FloatingPointError when it diverges.
        """
        critic = {**critics.plain(self.critic), "ensemble": self.fits}
        parts = {"actor": "deterministic", "critic": critic, "risk": "neutral"}
        agent, terms = Agent.build(parts, self.data.spec).to(self.device), {"td": FittedQ(self.gamma)}
        settings = {"name": "default", **SETTINGS, "steps": self.steps}
        trainer = trainers.build(settings, agent, terms, transitions.to(self.device), self.seed)
        for _ in progress_bar(trainer.run(), self.steps, label, self.quiet):
            pass
        if not torch.isfinite(loss := trainer.metrics["loss_td"]):
            raise FloatingPointError(f"{label} diverged: its loss is {loss.item()}")
        return trainer.target

    @cached_property
    def behaviour(self) -> dict[str, Any]:
        """Check of the estimator: its estimate for the logged actions against the returns of the logged episodes."""
        log, chosen = self.log, self.episodes
        first, last = log.start[chosen], log.stop[chosen] - 1
        with seeded(self.seed, self.device):
            fitted = self.fit(behaviour_transitions(self.transitions, self.gamma), "estimate of the behaviour")
            predicted, end = (
                fitted.returns(log.observation[rows], log.action[rows], LEVELS, members=True).astype(float).mean(1)
                for rows in (first, last)
            )
        outcome, completed = self.completed(end)
        report = of_episodes(predicted, outcome).report(self.alphas)
        for row in report["cvar"]:
            close = abs(row["predicted"] - row["realised"]) <= CLOSE * float(outcome.std())
            row["met"] = close or row["low"] <= row["predicted"] <= row["high"]
        curves = {"quantiles": mixture(predicted, len(predicted))[0].tolist(), "realised": np.sort(outcome).tolist()}
        return {**report, "held_out": self.data.held_out is not None, "completed": completed, **curves}

    def completed(self, end: np.ndarray) -> tuple[np.ndarray, float]:
        """Discounted returns [n] of the chosen episodes, and the mean share gamma^T that lies beyond truncation.

        A truncated episode lacks its later rewards. A draw from `end` [n, 100], the estimate at its last step, minus
        the reward there stands for them. Comparing only terminated episodes would leave out the long, good ones.
        """
        log, chosen, random = self.log, self.episodes, np.random.default_rng(self.seed)
        last, length = log.stop[chosen] - 1, (log.stop - log.start)[chosen]
        cut = ~log.terminated[last] & (self.gamma > 0)
        drawn = end[np.arange(len(end)), random.integers(LEVELS, size=len(end))]
        rest = np.where(cut, self.gamma ** (length - 1) * (drawn - log.reward[last]), 0)
        return log.logged_returns(self.gamma)[log.start[chosen]] + rest, float((cut * self.gamma**length).mean())

    def policy(self, agent: Agent) -> dict[str, Any]:
        """Mean and CVaR of the policy's discounted return from the first states, as it acts.

        `fit_error` is the deviation over the fits, `state_error` that of a mean over the first states; the interval
        combines both. It does not contain a bias that all fits share.
        """
        observation = self.log.observation[self.log.start[self.episodes]].repeat(DRAWS, 0)
        with seeded(self.seed, self.device):
            transitions = policy_transitions(self.transitions, agent.act, self.steps)
            fitted = self.fit(transitions, "estimate of the policy")
            value = fitted.returns(observation, agent.act(observation), LEVELS, members=True).astype(float)
        mixed, *members = (mixture(part, DRAWS) for part in (value.mean(1), *value.swapaxes(0, 1)))
        rows = []
        for alpha in (1.0, *self.alphas):
            estimate, each = float(cvar(mixed.ravel(), alpha)), [float(cvar(part.ravel(), alpha)) for part in members]
            found = combined_interval(estimate, each, cvar_terms(mixed, alpha))
            row = {"alpha": alpha, "estimate": estimate, **found}
            rows.append({**row, "member_low": min(each), "member_high": max(each)})
        return {"starts": len(mixed), "cvar": rows, "quantiles": mixture(mixed, len(mixed))[0].tolist()}

    def distance(self, agent: Agent) -> dict[str, Any]:
        """Distance of the policy's actions from those logged in the same states (box [-1, 1]), and OOD shares."""
        log, random, scaling = self.log, np.random.default_rng(self.seed), agent.actor.scaling
        rows = np.sort(random.choice(len(log.reward), min(STATES, len(log.reward)), replace=False))
        with seeded(self.seed, self.device):
            action = agent.act(log.observation[rows])
            ours, logged = (scaling.to_unit(torch.as_tensor(a).to(self.device)) for a in (action, log.action[rows]))
            apart = (ours - logged).square().mean(-1).sqrt().mean().item()
            detector = self.detector
            ood = None if detector is None else detector.report(agent.act, self.data.held_out, self.seed)
        return {"action_rms": apart, "ood": ood}


def mixture(value: np.ndarray, count: int) -> np.ndarray:
    """Quantiles [n count, 100] -> of the mixtures of `count` rows each [n, 100].

    They are means of 100 cells, which keep CVaR at whole hundredths.
    """
    return np.sort(value.reshape(-1, count * LEVELS), -1).reshape(-1, LEVELS, count).mean(-1)
