"""Hazards of Stochastic-D4RL: in a risky state a penalty strikes with a fixed probability.

One object serves both sides: it relabels logged rewards from next observations, and wraps the environment.
"""

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np


@dataclass(frozen=True)
class Hazard:
    """Penalty (reward units) with `probability` per step whose next observation leaves [low, high] in a coordinate."""

    coordinate: int
    low: float
    high: float
    probability: float
    penalty: float

    def risky(self, next_observation: np.ndarray) -> np.ndarray:
        """next_observation [*b, O] -> risky [*b]."""
        value = next_observation[..., self.coordinate]
        return (value < self.low) | (value > self.high)

    def draw(self, next_observation: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Penalties [*b] (0 where none struck) and risky flags [*b]; one draw per step, risky or not.

        The draw of step k therefore depends on the seed and on k alone: policies face common random hazards.
        """
        risky = self.risky(next_observation)
        hit = risky & (random.random(risky.shape) < self.probability)
        return np.where(hit, self.penalty, 0.0), risky


class HazardWrapper(gymnasium.Wrapper):
    """Adds a hazard, with a generator of its own; `info` has `clean_reward`, `penalty` and `risky`."""

    def __init__(self, env: gymnasium.Env, hazard: Hazard) -> None:
        super().__init__(env)
        self.hazard, self.random = hazard, np.random.default_rng()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self.random = np.random.default_rng([seed, 1])  # a stream apart from the environment's own
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        penalty, risky = self.hazard.draw(np.asarray(observation), self.random)
        info = {**info, "clean_reward": reward, "penalty": bool(penalty), "risky": bool(risky)}
        return observation, float(reward) + float(penalty), terminated, truncated, info
