"""Logged data as flat arrays: one form for every source (Minari, D4RL files, plain arrays)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec
from tensordict import TensorDict

from ramac.data.columns import moments
from ramac.data.large import joined, take
from ramac.errors import InputError
from ramac.spec import Spec, transitions
from ramac.system.files import checksum

__all__ = ["Act", "Dataset", "Log", "as_log", "from_arrays"]

Act = Callable[[np.ndarray], np.ndarray]  # observation [B, O] -> action [B, A]


@dataclass
class Log:
    """Logged steps in order, whole episodes one after the other; `start` holds the index of each one's first step."""

    observation: np.ndarray  # [T, O] float32; float64 where float32 cannot hold it
    action: np.ndarray  # [T, A] float32
    reward: np.ndarray  # [T] float32 or float64 alike, what the agent learns from: clean reward + penalty
    next_observation: np.ndarray  # [T, O] like `observation`
    terminated: np.ndarray  # [T] bool; a truncated step is not terminated, so it bootstraps
    start: np.ndarray  # [episodes] int
    penalty: np.ndarray | None = None  # [T] like `reward`, 0 where no hazard struck; None: data without hazards
    risky: np.ndarray | None = None  # [T] bool, whether a hazard could have struck
    clean_reward: np.ndarray | None = None  # [T] like `reward`, before hazards
    propensity: np.ndarray | None = None  # [T] the behaviour's density of the logged action, where the source has it
    behaviour: "Callable[[Log], np.ndarray] | None" = None  # computes the propensities of whole episodes instead
    environment: EnvSpec | None = None  # what the data were collected in, where the source says so
    evaluation_environment: EnvSpec | None = None  # what a policy is to be judged in, where the source names another
    parts: tuple[str, ...] | None = None  # vectors of nested observations, in the order of `observation`
    names: tuple[str, ...] | None = None  # [O] of the observation's numbers, where the source says so

    @property
    def judge(self) -> EnvSpec | None:
        """The environment that judges a policy, where the source names one."""
        return self.evaluation_environment or self.environment

    @property
    def stop(self) -> np.ndarray:
        """Index after each episode's last step: [episodes]."""
        return np.append(self.start[1:], len(self.reward))

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each episode: [episodes]."""
        return self.stop - self.start

    @property
    def episode(self) -> np.ndarray:
        """Index of the episode of each step: [T]."""
        return np.repeat(np.arange(len(self.start)), self.lengths)

    def returns(self, horizon: int | None = None) -> np.ndarray:
        """Return of each episode over its first `horizon` steps (None: all): [episodes]."""
        stop = self.stop if horizon is None else np.minimum(self.stop, self.start + horizon)
        total = np.concatenate([[0.0], np.cumsum(self.reward, dtype=np.float64)])
        return total[stop] - total[self.start]

    def logged_returns(self, gamma: float) -> np.ndarray:
        """Discounted return from each step to the end of its episode, or to where it was cut: [T]."""
        result = self.reward.astype(np.float64)
        lengths = self.lengths
        for step in range(int(lengths.max()) - 2, -1, -1):  # all episodes that have a step after this one at once
            rows = self.start[lengths > step + 1] + step
            result[rows] += gamma * result[rows + 1]
        return result

    def beyond(self, gamma: float) -> np.ndarray:
        """Discount of the return that follows a cut: gamma^(steps left), 0 in a terminated episode. [T].

        0 also where that return cannot be estimated: gamma = 1 and no episode terminates.
        """
        cut = ~self.terminated[self.stop - 1]
        if gamma == 1 and cut.all():
            return np.zeros(len(self.reward))
        episode = self.episode
        return gamma ** (self.stop[episode] - np.arange(len(episode))) * cut[episode]

    def returns_to_go(self, gamma: float) -> np.ndarray:
        """Discounted return from each step: [T]. What follows a cut counts as the mean of these returns.

        That mean is the fixed point V = mean(logged) + mean(beyond) V.
        """
        logged, beyond = self.logged_returns(gamma), self.beyond(gamma)
        return logged + beyond * logged.mean() / (1 - beyond.mean())

    def return_limits(self, gamma: float) -> tuple[float, float] | None:
        """Return of the worst and of the best cut episode, repeated for ever; None where no episode is completed."""
        left = self.beyond(gamma)[self.start]
        cut = left > 0
        if not cut.any() or gamma == 1:
            return None
        repeated = self.logged_returns(gamma)[self.start[cut]] / (1 - left[cut])
        return float(repeated.min()), float(repeated.max())

    def transitions(self) -> TensorDict:
        """The steps as a TensorDict [T] in the keys of ramac.spec, sharing memory with the arrays.

        `("next", "action")` [T, A] is the action logged next; `("next", "followed")` [T, 1] says where there is one.
        """
        parts = self.observation, self.action, self.reward, self.next_observation, self.terminated
        steps = transitions(*map(torch.from_numpy, parts))
        followed = torch.ones(len(self.reward), 1, dtype=torch.bool)
        followed[torch.from_numpy(self.stop - 1)] = False
        return steps.set(("next", "action"), steps["action"].roll(-1, 0)).set(("next", "followed"), followed)

    def spec(self, action_space: gymnasium.spaces.Box, gamma: float) -> Spec:
        """Sizes, action box and statistics."""
        parts = action_space.low, action_space.high, *moments(self.observation)
        low, high, mean, std = (tuple(part.astype(np.float64).tolist()) for part in parts)
        spec = Spec(self.observation.shape[1], self.action.shape[1], low, high, mean, std)
        spec = spec.of_returns(self.returns_to_go(gamma), self.beyond(gamma))
        return replace(spec, return_limits=self.return_limits(gamma))

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The arrays with one row per step, by name."""
        return {name: part for name, part in vars(self).items() if isinstance(part, np.ndarray) and name != "start"}

    def keep(self, kept: np.ndarray) -> "Log":
        """Only the steps where `kept` [T] is true; episodes without any are dropped."""
        rows = np.flatnonzero(kept)
        start = np.flatnonzero(np.diff(self.episode[rows], prepend=-1))
        return replace(self, start=start, **{name: take(column, rows) for name, column in self.columns.items()})


@dataclass
class Dataset:
    """Logged data, ready for training."""

    log: Log
    spec: Spec
    returns: np.ndarray  # [episodes] return of the behaviour over the task's horizon, hazards included
    origin: str  # one line for readers: name, place and size of the data
    held_out: Log | None = None  # whole episodes that training never sees
    environment: dict[str, str] | None = None  # `id` of the environment that judges, and the `rule` that chose it

    @cached_property
    def transitions(self) -> TensorDict:
        """The steps [T] in the keys of ramac.spec."""
        return self.log.transitions()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the transitions."""
        return checksum(dict(self.transitions.flatten_keys(".").items()), "")  # type: ignore[arg-type]


def concatenate(logs: Sequence[Log]) -> Log:
    """Join logs in order; arrays that only some of them have are left out. Raises InputError for unequal sizes."""
    if len(logs) == 1:
        return logs[0]
    for part in ("observation", "action"):
        sizes = list(dict.fromkeys(getattr(log, part).shape[1] for log in logs))
        if len(sizes) > 1:
            raise InputError(
                f"data of different shapes cannot be joined: {part}s of {sizes[0]} and of {sizes[1]} numbers"
            )
    named: dict[str, Any] = {}
    for key, what in (("environment", "environments"), ("evaluation_environment", "evaluation environments")):
        found = {spec.name: spec for log in logs if (spec := getattr(log, key))}
        if len(found) > 1:
            raise InputError(f"data of different {what} cannot be joined: {' and '.join(found)}")
        named[key] = next(iter(found.values()), None)
    for key in ("parts", "names"):
        orders = list(dict.fromkeys(getattr(log, key) for log in logs if getattr(log, key)))
        if len(orders) > 1:
            texts = " and ".join(", ".join(order[:12]) for order in orders[:2])
            raise InputError(f"data whose observations differ in {key} cannot be joined: {texts}")
        named[key] = next(iter(orders), None)
    common = [name for name in logs[0].columns if all(name in log.columns for log in logs)]
    columns: dict[str, Any] = {name: joined([log.columns[name] for log in logs]) for name in common}
    lengths = np.concatenate([log.lengths for log in logs])
    return Log(**columns, start=np.cumsum(lengths) - lengths, **named)


from ramac.data.arrays import from_arrays  # noqa: E402  (they need Log)
from ramac.data.episodes import as_log  # noqa: E402
