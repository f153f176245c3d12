"""Evaluation: episodes in vectorised environments, the statistics of their returns, and videos."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import SyncVectorEnv

from ramac.agent import Agent
from ramac.errors import InputError, at_least, at_most
from ramac.registry import evaluations
from ramac.risk.distortions import CVaR
from ramac.statistics import cvar, interquartile_mean, interval, tails
from ramac.system.runtime import seeded
from ramac.tasks import Task

# called with the step, observation [n, O] before it, action [n, A], reward [n] (0 after the end of an episode), and
# whether this step truncates each episode [n]
Watch = Callable[[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]


@evaluations.register("default")
class Evaluation:
    """Roll out whole episodes. The same seed gives the same starts and hazard draws to every method.

    100 episodes: with the paper's 10, CVaR_0.1 would be the single worst one. `every`: gradient steps between
    evaluations, 0 for one at the end. `keep`: keep every evaluated checkpoint, not only the last.
    """

    def __init__(
        self, *, episodes: int = 100, alphas: tuple[float, ...] = (0.05, 0.1, 0.25), seed: int = 0,
        environments: int = 50, every: int = 0, keep: bool = False,
    ) -> None:  # fmt: skip
        at_least(1, episodes=episodes, environments=environments)
        at_least(0, seed=seed, every=every)
        at_most(10**6, episodes=episodes)
        for alpha in alphas:
            CVaR(alpha=alpha)
        self.episodes, self.alphas, self.seed = episodes, tuple(alphas), seed
        self.environments, self.every, self.keep = environments, every, keep

    def starts(self, seed: int) -> list[int]:
        """Seeds of the episodes' environments and, as the last one, of the policy's noise; `seed` is the run's."""
        return np.random.SeedSequence([self.seed, seed]).generate_state(self.episodes + 1).tolist()

    def run(self, agent: Agent, task: Task, seed: int, watch: Watch | None = None) -> list[dict[str, Any]]:
        """One row per episode. `seed` is the run's, so that runs of several seeds see different episodes.

        The training's random stream is left alone, and the result does not depend on it.
        """
        *starts, noise = self.starts(seed)
        with seeded(noise, agent.actor.scaling.centre.device):
            chunks = (starts[i : i + self.environments] for i in range(0, len(starts), self.environments))
            rows = [row for chunk in chunks for row in rollout(agent, task.environment, chunk, watch)]
        return [{"episode": i, **row} for i, row in enumerate(rows)]

    def summary(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Mean, deviation, tails, worst episode, share of risky steps, number of penalties; 95 % intervals."""
        returns = np.array([row["return"] for row in rows])
        statistics = {"mean": np.mean, **{f"{alpha:g}": partial(cvar, alpha=alpha) for alpha in self.alphas}}
        return {
            "episodes": len(rows),
            "return_mean": float(returns.mean()),
            "return_std": float(returns.std()),
            "return_min": float(returns.min()),
            "return_iqm": float(interquartile_mean(returns)),
            "return_cvar": tails(returns, self.alphas),
            "intervals": {k: list(interval([returns], f)) for k, f in statistics.items()} if len(rows) > 1 else {},
            "hazard_rate": sum(row["risky_steps"] for row in rows) / sum(row["length"] for row in rows),
            "penalties": sum(row["penalties"] for row in rows),
        }


def rollout(
    agent: Agent, environment: Callable[[], gym.Env], seeds: list[int], watch: Watch | None = None
) -> list[dict[str, Any]]:
    """First episode of one environment per seed, all stepped together; `watch` is called at every step."""
    envs = SyncVectorEnv([environment] * len(seeds))
    observation, _ = envs.reset(seed=list(seeds))
    alive = np.ones(len(seeds), bool)
    total = {key: np.zeros(len(seeds)) for key in ("return", "length", "risky_steps", "penalties")}
    step = 0
    while alive.any():
        before, action = observation, agent.act(observation)
        observation, reward, terminated, truncated, info = envs.step(action)
        if watch is not None:
            watch(step, before, action, np.where(alive, reward, 0.0), alive & truncated & ~terminated)
        step += 1
        # an environment that is reset in this step gives no info
        risky, penalty = (info.get(key, np.zeros(len(seeds), bool)) for key in ("risky", "penalty"))
        for key, value in zip(total, (reward, 1, risky, penalty != 0), strict=True):
            total[key] += np.where(alive, value, 0)
        alive &= ~(terminated | truncated)
    envs.close()
    kinds = {key: float if key == "return" else int for key in total}
    return [{key: kind(total[key][i]) for key, kind in kinds.items()} for i in range(len(seeds))]


def film(agent: Agent, task: Task, seeds: Sequence[int], folder: Path) -> None:
    """One video per environment seed, in `folder/videos`, by Gymnasium's recorder.

    Starts and hazards are those of the evaluation's episodes, the policy's noise is not. Raises InputError when nothing
    can be drawn or written.
    """
    from gymnasium.wrappers import RecordVideo  # imports a video library

    def recorded(name: str) -> gym.Env:
        settings: dict[str, Any] = {"episode_trigger": lambda _: True, "name_prefix": name, "disable_logger": True}
        with warnings.catch_warnings(action="ignore"):  # when the folder exists, as for the second video
            return RecordVideo(task.environment("rgb_array"), str(folder / "videos"), **settings)

    for i, seed in enumerate(seeds):
        try:
            with seeded(seed, agent.actor.scaling.centre.device):
                rollout(agent, partial(recorded, f"film-{i}"), [seed])
        except InputError:
            raise
        except Exception as error:  # no recorder, no renderer, no display: each library has its own exceptions
            hint = "pip install 'ramac[video]'; without a display MUJOCO_GL=egl or osmesa"
            raise InputError(f"video={len(seeds)} cannot be made: {' '.join(str(error).split())}; {hint}") from error
