"""Hazards of Stochastic-D4RL: in a risky state a penalty strikes with a fixed probability.

One object serves data and environment: it relabels logged steps from their next observations, and wraps the
environment. A penalty depends on the step and on one uniform number per step, so the same seed gives the same data.
"""

from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np

from ramac.data import Log
from ramac.environments import checked_step
from ramac.errors import InputError, at_least
from ramac.registry import hazards


@dataclass(kw_only=True, eq=False)
class Hazard:
    """Penalty (reward units) with `probability` per step whose next observation leaves [low, high] in a coordinate.

    Args:
        coordinate: Index of the coordinate in the observation.
        low: Lower end of the safe range, in the coordinate's unit.
        high: Upper end of the safe range, likewise.
        probability: Probability of a penalty per risky step.
        penalty: What a penalty adds to the reward (reward units), at most 0.
    """

    coordinate: int
    low: float
    high: float
    probability: float
    penalty: float

    def __post_init__(self) -> None:
        at_least(0, coordinate=self.coordinate, probability=self.probability)
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low:g} and {self.high:g}")
        if self.probability > 1:
            raise ValueError(f"probability must be in [0, 1], got {self.probability:g}")
        if not -np.inf < self.penalty <= 0:
            raise ValueError(f"penalty is added to the reward: it must be finite and at most 0, got {self.penalty:g}")

    def value(self, action: np.ndarray, clean_reward: np.ndarray, next_observation: np.ndarray) -> np.ndarray:
        """The bounded quantity: [*b] float32, as in stored data, so that data and environment round alike."""
        if self.coordinate >= (size := next_observation.shape[-1]):
            allowed = f"below {size}, the size of an observation"
            raise InputError(f"hazard: coordinate must be {allowed}; got {self.coordinate}")
        return next_observation[..., self.coordinate].astype(np.float32)

    def risky(self, action: np.ndarray, clean_reward: np.ndarray, next_observation: np.ndarray) -> np.ndarray:
        """action [*b, A], clean_reward [*b], next_observation [*b, O] -> whether a penalty could strike [*b]."""
        value = self.value(action, clean_reward, next_observation)
        return (value < np.float32(self.low)) | (value > np.float32(self.high))

    def cost(self, action: np.ndarray, clean_reward: np.ndarray) -> np.ndarray:
        """Reward (at most 0) that a penalty adds: [*b]."""
        return np.full(clean_reward.shape, self.penalty)

    def fallen(self, next_observation: np.ndarray) -> np.ndarray:
        """Whether the hazard's own rule ends the episode: [*b]."""
        return np.zeros(next_observation.shape[:-1], bool)

    def draw(
        self, action: np.ndarray, clean_reward: np.ndarray, next_observation: np.ndarray, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Penalties [*b] (0 where none struck) and risky flags [*b]; one draw per step, risky or not.

        The draw of step k therefore depends on the seed and on k alone: policies face common random hazards.
        """
        risky = self.risky(action, clean_reward, next_observation)
        hit = risky & (random.random(risky.shape) < self.probability)
        return np.where(hit, self.cost(action, clean_reward), 0.0), risky

    def relabel(self, log: Log, seed: int) -> Log:
        """Logged steps with this hazard, from the clean rewards, without a simulator."""
        clean = log.reward if log.clean_reward is None else log.clean_reward
        penalty, risky = self.draw(log.action, clean, log.next_observation, np.random.default_rng(seed))
        penalty = penalty.astype(clean.dtype)
        return replace(log, reward=clean + penalty, clean_reward=clean, penalty=penalty, risky=risky)


@hazards.register("none")
class NoHazard(Hazard):
    """The task as it is: no penalties."""

    def __init__(self) -> None:
        super().__init__(coordinate=0, low=-np.inf, high=np.inf, probability=0.0, penalty=0.0)


@hazards.register("velocity")
@dataclass(kw_only=True, eq=False)
class Velocity(Hazard):
    """A penalty strikes while the forward velocity is outside [low, high] m/s (RAMAC: HalfCheetah medium-expert).

    Paper: Fukazawa et al. 2026, RAMAC (Stochastic-D4RL); Urpi et al. 2021, O-RAAC.

    Args:
        coordinate: Index of the velocity in the observation; 8 in HalfCheetah and Walker2d, 5 in Hopper.
        step_average: The velocity is the mean over the step, which HalfCheetah's clean reward contains, instead of the
            one at its end; a penalty then takes the step's forward reward too, as ORAAC's wrapper does.
    """

    low: float = -10.0
    high: float = 10.0
    probability: float = 0.05
    penalty: float = -70.0
    coordinate: int = 8
    step_average: bool = False

    def value(self, action: np.ndarray, clean_reward: np.ndarray, next_observation: np.ndarray) -> np.ndarray:
        if self.step_average:
            return _forward_reward(action, np.asarray(clean_reward, np.float32)).astype(np.float32)
        return super().value(action, clean_reward, next_observation)

    def cost(self, action: np.ndarray, clean_reward: np.ndarray) -> np.ndarray:
        return self.penalty - self.step_average * _forward_reward(action, clean_reward)


def _forward_reward(action: np.ndarray, clean_reward: np.ndarray) -> np.ndarray:
    """HalfCheetah's reward is the step's mean velocity less a tenth of the squared action: [*b]."""
    return clean_reward + 0.1 * np.square(action, dtype=np.float64).sum(-1)


@hazards.register("pose")
@dataclass(kw_only=True, eq=False)
class Pose(Hazard):
    """A penalty strikes while the torso's pitch is outside [low, high] rad; defaults: RAMAC, Hopper medium-expert.

    Paper: Fukazawa et al. 2026, RAMAC (Stochastic-D4RL); Urpi et al. 2021, O-RAAC.

    Args:
        healthy: None strikes from this |pitch| (rad) on.
        fall: From this |pitch| (rad) on the episode ends.
        fall_in_data: It ends in the data too, whose later steps of the episode are left out.
    """

    low: float = -0.17
    high: float = 0.04
    probability: float = 0.1
    penalty: float = -50.0
    coordinate: int = 1
    healthy: float = np.inf
    fall: float = np.inf
    fall_in_data: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.healthy > 0 or not self.fall > 0:
            raise ValueError(f"healthy and fall must be above 0, got {self.healthy:g} and {self.fall:g}")

    def risky(self, action: np.ndarray, clean_reward: np.ndarray, next_observation: np.ndarray) -> np.ndarray:
        pitch = self.value(action, clean_reward, next_observation)
        return super().risky(action, clean_reward, next_observation) & (np.abs(pitch) < np.float32(self.healthy))

    def fallen(self, next_observation: np.ndarray) -> np.ndarray:
        return np.abs(next_observation[..., self.coordinate].astype(np.float32)) > np.float32(self.fall)

    def relabel(self, log: Log, seed: int) -> Log:
        log = super().relabel(log, seed)
        if not self.fall_in_data or not (fallen := self.fallen(log.next_observation)).any():
            return log
        before = np.cumsum(fallen) - fallen  # falls before each step, in the whole log
        kept = before == before[log.start][log.episode]  # no earlier fall in its own episode
        return replace(log, terminated=log.terminated | fallen).keep(kept)


class HazardWrapper(gymnasium.Wrapper):
    """Adds a hazard, with a generator of its own; `info` has `clean_reward`, `penalty` and `risky`."""

    def __init__(self, env: gymnasium.Env, hazard: Hazard) -> None:
        super().__init__(env)
        self.hazard, self.random = hazard, np.random.default_rng()
        self.space = env.observation_space  # once: each wrapper asks the one below

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self.random = np.random.default_rng([seed, 1])  # independent of the environment's own generator
        return super().reset(seed=seed, options=options)

    @np.errstate(over="ignore")  # of a reward or an observation beyond float32: who evaluates says so
    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        found = checked_step(super().step(action), self.space)
        observation, reward, terminated, truncated, info = found
        after = np.asarray(observation)
        penalty, risky = self.hazard.draw(np.asarray(action), np.asarray(reward, np.float32), after, self.random)
        info = {**info, "clean_reward": reward, "penalty": float(penalty), "risky": bool(risky)}
        terminated = terminated or bool(self.hazard.fallen(after))
        return observation, reward + float(penalty), terminated, truncated, info
