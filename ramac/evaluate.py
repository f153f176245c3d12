"""Evaluation: episodes in vectorised environments, with generators of its own, and the statistics of their returns."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium.vector import SyncVectorEnv

from ramac.agent import Agent
from ramac.errors import at_least
from ramac.registry import evaluations
from ramac.risk.distortions import CVaR
from ramac.tasks import Task


def cvar(returns: np.ndarray, alpha: float) -> float:
    """Mean of the worst `alpha` share of returns [episodes], the boundary episode counted in part."""
    return CVaR(alpha=alpha).of_samples(torch.as_tensor(returns, dtype=torch.float64)).item()


def tails(returns: np.ndarray, alphas: tuple[float, ...]) -> dict[str, float]:
    """CVaR at each level, keyed by the level as text."""
    return {f"{alpha:g}": cvar(returns, alpha) for alpha in alphas}


# step of the episodes, observation [n, O] before it, action [n, A], reward [n] (0 for episodes that are over), and
# which episodes [n] this step cut off
Watch = Callable[[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]


@evaluations.register("default")
class Evaluation:
    """Roll out whole episodes. The same seed gives the same starts and hazard draws to every method.

    100 episodes, not the paper's 10, whose CVaR_0.1 is the single worst one.
    `every`: updates between evaluations, 0 for one at the end.
    """

    def __init__(
        self,
        *,
        episodes: int = 100,
        alphas: tuple[float, ...] = (0.05, 0.1, 0.25),
        seed: int = 0,
        environments: int = 50,
        every: int = 0,
    ) -> None:
        at_least(1, episodes=episodes, environments=environments)
        at_least(0, seed=seed, every=every)
        for alpha in alphas:
            CVaR(alpha=alpha)
        self.episodes, self.alphas, self.seed = episodes, tuple(alphas), seed
        self.environments, self.every = environments, every

    def run(self, agent: Agent, task: Task, seed: int, watch: Watch | None = None) -> list[dict[str, Any]]:
        """One row per episode; `seed` is the run's, so that runs of several seeds see different episodes.

        Neither the training stream nor the result depends on the other: torch's generators are forked.
        """
        root = np.random.SeedSequence([self.seed, seed])
        starts = [int(x) for x in root.generate_state(self.episodes + 1)]
        device = agent.actor.scaling.centre.device
        rows: list[dict[str, Any]] = []
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(starts.pop())
            while starts:
                chunk, starts = starts[: self.environments], starts[self.environments :]
                rows += rollout(agent, task, chunk, watch)
        return [{"episode": i, **row} for i, row in enumerate(rows)]

    def summary(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Mean, spread, tails, worst episode, share of risky steps and number of penalties."""
        returns = np.array([row["return"] for row in rows])
        return {
            "episodes": len(rows),
            "return_mean": float(returns.mean()),
            "return_std": float(returns.std()),
            "return_min": float(returns.min()),
            "return_cvar": tails(returns, self.alphas),
            "hazard_rate": sum(row["risky_steps"] for row in rows) / sum(row["length"] for row in rows),
            "penalties": sum(row["penalties"] for row in rows),
        }


def rollout(agent: Agent, task: Task, seeds: list[int], watch: Watch | None = None) -> list[dict[str, Any]]:
    """First episode of one environment per seed, all stepped together; `watch` is told of every step."""
    envs = SyncVectorEnv([task.environment] * len(seeds))
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
        # an environment that starts anew reports no info
        risky, penalty = (info.get(key, np.zeros(len(seeds), bool)) for key in ("risky", "penalty"))
        for key, value in zip(total, (reward, 1, risky, penalty != 0), strict=True):
            total[key] += np.where(alive, value, 0)
        alive &= ~(terminated | truncated)
    envs.close()
    return [
        {key: (float if key == "return" else int)(column[i]) for key, column in total.items()}
        for i in range(len(seeds))
    ]
