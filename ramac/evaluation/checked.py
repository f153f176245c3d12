"""An environment as an evaluation steps it: what it returns is checked, and its faults name episode and step."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from ramac.environments import checked_observation, checked_step, clipped
from ramac.errors import InputError, RunStopped, described, warn
from ramac.system.signals import from_outside

FLOAT32 = np.float64(np.finfo(np.float32).max)
FAULTS = (Exception, SystemExit, KeyboardInterrupt)  # what the code of an environment can raise


class EnvironmentFault(RunStopped):
    """An environment that raises, or returns what Gymnasium's interface does not allow."""


class NonFinite(EnvironmentFault):
    """A reward or an observation that is nan or infinite; `where` names the episode, its step and the value."""

    def __init__(self, text: str, where: dict[str, Any]) -> None:
        super().__init__(text)
        self.where = where


class CheckedEnvironment(gym.Wrapper):
    """One episode. Of `info` only `risky` and `penalty` are passed on. Raises EnvironmentFault, NonFinite."""

    def __init__(self, env: gym.Env, episode: int) -> None:
        super().__init__(env)
        self.episode, self.count, self.total = episode, 0, 0.0
        self.last = np.zeros(0)  # the last observation
        self.space = env.observation_space  # once: each wrapper asks the one below

    @classmethod
    def of(cls, make: Callable[[], gym.Env], episode: int) -> "CheckedEnvironment":
        """The environment that `make` makes. Raises EnvironmentFault."""
        try:
            return cls(make(), episode)
        except (InputError, RunStopped):
            raise
        except FAULTS as error:
            if isinstance(error, KeyboardInterrupt) and from_outside(error):
                raise
            raise EnvironmentFault(
                f"{described(error)} (while the environment of episode {episode} is made)"
            ) from error

    @property
    def place(self) -> str:
        """Name of the environment, episode and step."""
        spec, name = self.unwrapped.spec, type(self.unwrapped).__name__
        name = name if spec is None else spec.id
        return f"{name}, episode {self.episode}, {f'step {self.count}' if self.count else 'reset'}"

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        def begin() -> None:
            found: Any = self.env.reset(seed=seed, options=options)
            if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[1], Mapping):
                raise InputError(f"reset must return an observation and a mapping, got {clipped(found)}")
            self.see(found[0])

        self.guarded(begin)
        return self.last, {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        def move() -> tuple[float, bool, bool, dict]:
            found = checked_step(self.env.step(action), self.space)
            observation, reward, terminated, truncated, info = found
            self.total += reward
            if not math.isfinite(self.total):
                self.refuse("reward", reward)
            self.see(observation)
            kept = {"risky": bool(info.get("risky", False)), "penalty": bool(info.get("penalty", 0) != 0)}
            return reward, terminated, truncated, kept

        self.count += 1
        reward, terminated, truncated, info = self.guarded(move)
        return self.last, reward, terminated, truncated, info

    def guarded(self, call: Callable[[], Any]) -> Any:
        """What the call returns. Raises EnvironmentFault, NonFinite."""
        try:
            return call()
        except FAULTS as error:
            if isinstance(error, KeyboardInterrupt) and from_outside(error):
                raise
            if isinstance(error, NonFinite):
                raise
            text = str(error) if isinstance(error, InputError | RunStopped) else described(error)
            if isinstance(error, ValueError) and "unpack" in text:  # by Gymnasium's own wrappers, such as TimeLimit
                text += "; step must return observation, reward, terminated, truncated, info"
            raise EnvironmentFault(f"{text} ({self.place})") from error

    def see(self, observation: Any) -> None:
        """Keep a copy of an observation, because environments reuse their array."""
        found = checked_observation(observation, self.space)
        small = np.abs(found) <= FLOAT32  # nan is not
        if not small.all():
            first = int(np.flatnonzero(~small)[0])
            self.refuse(f"observation, coordinate {first},", found.flat[first])
        self.last = np.array(found, self.space.dtype)

    def refuse(self, what: str, value: Any) -> None:
        """Raise NonFinite."""
        key = what.partition(",")[0]
        where = {"episode": self.episode, "step": self.count, key: f"{value:g}"}
        raise NonFinite(f"the {what} is {value:g} ({self.place})", where)

    def close(self) -> None:
        """Close the environment. A failure is a warning: the episode is over."""
        try:
            super().close()
        except FAULTS as error:
            if isinstance(error, KeyboardInterrupt) and from_outside(error):
                raise
            warn(f"closing the environment of episode {self.episode} failed: {described(error)}")
