"""Evaluation: episodes in vectorised environments, with generators of its own, and the statistics of their returns."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium.vector import SyncVectorEnv

from ramac.agent import Agent
from ramac.errors import at_least, at_most
from ramac.registry import evaluations
from ramac.risk.distortions import CVaR
from ramac.statistics import cvar, interquartile_mean, interval, tails
from ramac.tasks import Task

# step of the episodes, observation [n, O] before it, action [n, A], reward [n] (0 for episodes that are over), and
# which episodes [n] this step cut off
Watch = Callable[[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]


@evaluations.register("default")
class Evaluation:
    """Roll out whole episodes. The same seed gives the same starts and hazard draws to every method.

    100 episodes, not the paper's 10, whose CVaR_0.1 is the single worst one.
    `every`: updates between evaluations, 0 for one at the end; `keep`: every evaluated checkpoint, not only the last.
    """

    def __init__(
        self,
        *,
        episodes: int = 100,
        alphas: tuple[float, ...] = (0.05, 0.1, 0.25),
        seed: int = 0,
        environments: int = 50,
        every: int = 0,
        keep: bool = False,
    ) -> None:
        at_least(1, episodes=episodes, environments=environments)
        at_least(0, seed=seed, every=every)
        at_most(10**6, episodes=episodes)
        for alpha in alphas:
            CVaR(alpha=alpha)
        self.episodes, self.alphas, self.seed = episodes, tuple(alphas), seed
        self.environments, self.every, self.keep = environments, every, keep

    def starts(self, seed: int) -> list[int]:
        """Seeds of the episodes' environments, and last of the policy's noise; `seed` is the run's."""
        root = np.random.SeedSequence([self.seed, seed])
        return [int(x) for x in root.generate_state(self.episodes + 1)]

    def run(self, agent: Agent, task: Task, seed: int, watch: Watch | None = None) -> list[dict[str, Any]]:
        """One row per episode; `seed` is the run's, so that runs of several seeds see different episodes.

        Neither the training stream nor the result depends on the other: torch's generators are forked.
        """
        starts = self.starts(seed)
        device = agent.actor.scaling.centre.device
        rows: list[dict[str, Any]] = []
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(starts.pop())
            while starts:
                chunk, starts = starts[: self.environments], starts[self.environments :]
                rows += rollout(agent, task, chunk, watch)
        return [{"episode": i, **row} for i, row in enumerate(rows)]

    def summary(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Mean, spread, tails, worst episode, share of risky steps and number of penalties; 95 % intervals."""
        returns = np.array([row["return"] for row in rows])
        statistics = {"mean": np.mean, **{f"{alpha:g}": partial(cvar, alpha=alpha) for alpha in self.alphas}}
        return {
            "episodes": len(rows),
            "return_mean": float(returns.mean()),
            "return_std": float(returns.std()),
            "return_min": float(returns.min()),
            "return_iqm": float(interquartile_mean(returns)),
            "return_cvar": tails(returns, self.alphas),
            # one episode has none
            "intervals": {} if len(rows) == 1 else {k: list(interval([returns], f)) for k, f in statistics.items()},
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
