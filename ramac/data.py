"""Minari datasets as flat tensors: loading, checking, and what the behaviour policy earned."""

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium
import numpy as np
import torch
from tensordict import TensorDict

from ramac.errors import InputError, nearest
from ramac.spec import Spec, transitions


@dataclass
class Log:
    """Logged steps in order, as flat arrays; `start` holds the index of each episode's first step."""

    observation: np.ndarray  # [T, O] float32
    action: np.ndarray  # [T, A] float32
    reward: np.ndarray  # [T] float32
    next_observation: np.ndarray  # [T, O] float32
    terminated: np.ndarray  # [T] bool; a truncated step is not terminated, so it bootstraps
    start: np.ndarray  # [episodes] int

    def returns(self, horizon: int) -> np.ndarray:
        """Return of each episode over its first `horizon` steps: [episodes]."""
        ends = np.append(self.start[1:], len(self.reward))
        stops = np.minimum(ends, self.start + horizon)
        return np.array([self.reward[a:b].sum(dtype=np.float64) for a, b in zip(self.start, stops, strict=True)])

    def returns_to_go(self, gamma: float) -> np.ndarray:
        """Discounted return from each step to the end of its episode: [T]."""
        result, last = np.empty(len(self.reward)), set((self.start - 1).tolist())
        value = 0.0
        for step in range(len(result) - 1, -1, -1):
            value = self.reward[step] + gamma * (0.0 if step in last else value)
            result[step] = value
        return result

    def transitions(self) -> TensorDict:
        """The steps as a TensorDict [T] in the keys of ramac.spec."""
        parts = self.observation, self.action, self.reward, self.next_observation, self.terminated
        return transitions(*map(torch.from_numpy, parts))

    def spec(self, action_space: gymnasium.spaces.Box, gamma: float) -> Spec:
        """Sizes, action box and statistics; 1e-3 is added to deviations of observations as in TD3+BC."""
        low, high = (bound.astype(np.float32).tolist() for bound in (action_space.low, action_space.high))
        mean = self.observation.mean(0, dtype=np.float64).astype(np.float32)
        std = self.observation.std(0, dtype=np.float64).astype(np.float32) + np.float32(1e-3)
        sizes = self.observation.shape[1], self.action.shape[1]
        bounds = tuple(low), tuple(high), tuple(mean.tolist()), tuple(std.tolist())
        return Spec(*sizes, *bounds).of_returns(self.returns_to_go(gamma))


def exists(dataset_id: str) -> bool:
    """Whether a Minari dataset of this id is on disk."""
    from minari.storage import get_dataset_path

    return (get_dataset_path(dataset_id) / "data").is_dir()


def load(dataset_id: str) -> Log:
    """Read a local Minari dataset. Raises InputError when there is none of this id or it is damaged."""
    import minari

    if not exists(dataset_id):
        known = list(minari.list_local_datasets())
        raise InputError(
            f"no dataset {dataset_id!r} on disk; on disk: {', '.join(known) or 'none'}{nearest(dataset_id, known)}"
            f"; a public one comes with: minari download {dataset_id}"
        )

    def flat(part: Callable, dtype: type) -> np.ndarray:
        return np.concatenate([np.asarray(part(episode), dtype) for episode in episodes])

    try:
        episodes = list(minari.load_dataset(dataset_id).iterate_episodes())
        lengths = [len(episode.rewards) for episode in episodes]
        return Log(
            observation=flat(lambda e: e.observations[:-1], np.float32),
            action=flat(lambda e: e.actions, np.float32),
            reward=flat(lambda e: e.rewards, np.float32),
            next_observation=flat(lambda e: e.observations[1:], np.float32),
            terminated=flat(lambda e: e.terminations, bool),
            start=np.cumsum([0, *lengths[:-1]]),
        )
    except Exception as error:  # whatever the storage layer makes of a damaged file, or of spaces that are no arrays
        raise InputError(f"dataset {dataset_id!r} cannot be read: {error}") from error


def check(log: Log, dataset_id: str, env: gymnasium.Env) -> None:
    """Refuse data that do not fit `env` or cannot be learned from. Raises InputError naming the first finding."""
    box = env.action_space
    if not isinstance(box, gymnasium.spaces.Box):
        raise InputError(f"environment {env} has no continuous actions")
    name = env.spec.id if env.spec else str(env)
    for part, shape in (("observation", env.observation_space.shape), ("action", box.shape)):
        found = getattr(log, part).shape[1:]
        if found != shape:
            raise InputError(f"dataset {dataset_id!r} does not fit {name}: {part}s have shape {found}, not {shape}")
    for part in ("observation", "action", "reward", "next_observation"):
        values = getattr(log, part)
        bad: np.ndarray = np.logical_not(np.isfinite(values.reshape(len(values), -1)).all(axis=1))
        if bad.any():
            raise InputError(
                f"dataset {dataset_id!r}: {part} is nan or infinite in {bad.sum()} of {len(values)} steps,"
                f" first at step {bad.argmax()}"
            )
    outside = ((log.action < box.low - 1e-5) | (log.action > box.high + 1e-5)).any(-1)
    if outside.any():
        first = outside.argmax()
        raise InputError(
            f"dataset {dataset_id!r}: actions outside the box [{box.low.min():g}, {box.high.max():g}] in"
            f" {outside.sum()} of {len(log.action)} steps, first at step {first}: {log.action[first].tolist()}"
        )
