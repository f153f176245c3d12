"""Logged data as flat arrays: one form for every source (Minari, D4RL files, plain arrays)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec
from tensordict import TensorDict

from ramac.errors import InputError
from ramac.spec import Spec, transitions
from ramac.system.files import checksum

__all__ = ["Act", "Dataset", "Log", "from_arrays"]

Act = Callable[[np.ndarray], np.ndarray]  # observation [B, O] -> action [B, A]


@dataclass
class Log:
    """Logged steps in order, whole episodes one after the other; `start` holds the index of each one's first step."""

    observation: np.ndarray  # [T, O] float32
    action: np.ndarray  # [T, A] float32
    reward: np.ndarray  # [T] float32, what the agent learns from: clean reward + penalty
    next_observation: np.ndarray  # [T, O] float32
    terminated: np.ndarray  # [T] bool; a truncated step is not terminated, so it bootstraps
    start: np.ndarray  # [episodes] int
    penalty: np.ndarray | None = None  # [T] float32, 0 where no hazard struck; None: data without hazards
    risky: np.ndarray | None = None  # [T] bool, whether a hazard could have struck
    clean_reward: np.ndarray | None = None  # [T] float32, before hazards
    environment: EnvSpec | None = None  # what the data were collected in, where the source says so

    @property
    def stop(self) -> np.ndarray:
        """Index after each episode's last step: [episodes]."""
        return np.append(self.start[1:], len(self.reward))

    @property
    def episode(self) -> np.ndarray:
        """Index of the episode of each step: [T]."""
        return np.repeat(np.arange(len(self.start)), self.stop - self.start)

    def returns(self, horizon: int | None = None) -> np.ndarray:
        """Return of each episode over its first `horizon` steps (None: all): [episodes]."""
        stop = self.stop if horizon is None else np.minimum(self.stop, self.start + horizon)
        total = np.concatenate([[0.0], np.cumsum(self.reward, dtype=np.float64)])
        return total[stop] - total[self.start]

    def returns_to_go(self, gamma: float) -> np.ndarray:
        """Discounted return from each step to the end of its episode: [T]."""
        result = self.reward.astype(np.float64)
        lengths = self.stop - self.start
        for step in range(int(lengths.max()) - 2, -1, -1):  # all episodes that have a step after this one at once
            rows = self.start[lengths > step + 1] + step
            result[rows] += gamma * result[rows + 1]
        return result

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
        """Sizes, action box and statistics; 1e-3 is added to deviations of observations as in TD3+BC."""
        low, high = (bound.astype(np.float32).tolist() for bound in (action_space.low, action_space.high))
        mean = self.observation.mean(0, dtype=np.float64).astype(np.float32)
        std = self.observation.std(0, dtype=np.float64).astype(np.float32) + np.float32(1e-3)
        sizes = self.observation.shape[1], self.action.shape[1]
        bounds = tuple(low), tuple(high), tuple(mean.tolist()), tuple(std.tolist())
        return Spec(*sizes, *bounds).of_returns(self.returns_to_go(gamma))

    def keep(self, kept: np.ndarray) -> "Log":
        """Only the steps where `kept` [T] is true; episodes without any are dropped."""
        start = np.flatnonzero(np.diff(self.episode[kept], prepend=-1))
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(
            self,
            **{k: v[kept] for k, v in parts.items() if k != "start" and isinstance(v, np.ndarray)} | {"start": start},
        )


@dataclass
class Dataset:
    """Logged data, ready for training."""

    log: Log
    spec: Spec
    returns: np.ndarray  # [episodes] return of the behaviour over the task's horizon, hazards included
    origin: str  # one line for readers: name, place and size of the data
    held_out: Log | None = None  # whole episodes that training never sees

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
    first = logs[0]
    for log in logs[1:]:
        for part in ("observation", "action"):
            a, b = getattr(first, part).shape[1], getattr(log, part).shape[1]
            if a != b:
                raise InputError(f"data of different shapes cannot be joined: {part}s of {a} and of {b} numbers")
    environments = {log.environment.name: log.environment for log in logs if log.environment}
    if len(environments) > 1:
        raise InputError(f"data of different environments cannot be joined: {' and '.join(environments)}")
    columns: dict[str, Any] = {}
    for field in fields(Log):
        parts = [getattr(log, field.name) for log in logs]
        if all(isinstance(part, np.ndarray) for part in parts):
            columns[field.name] = np.concatenate(parts)
    offsets = np.cumsum([0, *(len(log.reward) for log in logs[:-1])])
    start = np.concatenate([log.start + offset for log, offset in zip(logs, offsets, strict=True)])
    return Log(**columns | {"start": start}, environment=next(iter(environments.values()), None))


def from_arrays(
    observations: Any, actions: Any, rewards: Any, terminals: Any, timeouts: Any, next_observations: Any = None
) -> Log:
    """Steps in order, in the keys of D4RL: observations [T, O], actions [T, A], rewards, terminals and timeouts [T].

    Terminals end an episode (no bootstrap), timeouts truncate one (bootstrap); the last step ends one in any case.
    Missing next observations are taken from the following step. The last step of a cut episode then has none and is
    left out, as in d4rl's `qlearning_dataset`; a terminal step keeps its own observation there: it never bootstraps.
    Raises InputError that names the array which does not fit.
    """
    given = {"observations": observations, "actions": actions, "rewards": rewards}
    given |= {"terminals": terminals, "timeouts": timeouts}
    given |= {} if next_observations is None else {"next_observations": next_observations}
    wide = {"observations", "actions", "next_observations"}
    arrays: dict[str, np.ndarray] = {}
    for key, value in given.items():
        kind = bool if key in ("terminals", "timeouts") else np.float32
        try:
            plain = np.asarray(value)
            if plain.dtype.kind not in "fiub":
                raise ValueError(f"numbers are needed, got {plain.dtype}")
            if kind is bool and not np.isin(plain, (0, 1)).all():
                raise ValueError("only 0 and 1 are flags")
            arrays[key] = array = np.ascontiguousarray(plain, kind)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"{key} cannot be used: {error}") from error
        if key not in wide and array.shape[1:] == (1,):
            arrays[key] = array = array[:, 0]  # some files keep a column
        if array.ndim != 1 + (key in wide):
            raise InputError(f"{key} must have shape {'[T, n]' if key in wide else '[T]'}, got {list(array.shape)}")
        if len(array) != len(arrays["observations"]) or not len(array):
            count = len(arrays["observations"])
            raise InputError(f"{key} have {len(array)} steps, observations {count}; all need the same, at least 1")
    observation, terminated = arrays["observations"], arrays["terminals"]
    end = terminated | arrays["timeouts"]
    start = np.flatnonzero(np.concatenate([[True], end[:-1]]))
    after = arrays.get("next_observations")
    if after is not None and after.shape != observation.shape:
        raise InputError(f"next_observations have shape {list(after.shape)}, observations {list(observation.shape)}")
    if after is not None:
        return Log(observation, arrays["actions"], arrays["rewards"], after, terminated, start)
    after = np.concatenate([observation[1:], observation[-1:]])
    after[terminated] = observation[terminated]
    log = Log(observation, arrays["actions"], arrays["rewards"], after, terminated, start)
    cut = end & ~terminated
    cut[-1] = not terminated[-1]
    if cut.all():
        raise InputError("no step has a next observation: every step is a timeout and next_observations are missing")
    return log.keep(~cut)
