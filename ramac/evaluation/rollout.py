"""Evaluation: episodes in vectorised environments, the statistics of their returns, and videos."""

import math
import random
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import SyncVectorEnv

from ramac.agent import ROWS, Agent
from ramac.environments import RewardSoFar
from ramac.errors import InputError, at_least, at_most, described
from ramac.evaluation.checked import CheckedEnvironment, EnvironmentFault, NonFinite
from ramac.registry import evaluations
from ramac.risk.distortions import CVaR
from ramac.risk.episode import Episode
from ramac.statistics import cvar, interval, tails, trimmed_mean
from ramac.system.noise import EpisodeNoise
from ramac.system.runtime import seeded
from ramac.tasks import Task

# called with the step, observation [n, O] before it, action [n, A], reward [n] (0 after the end of an episode), and
# whether this step truncates each episode [n]
Watch = Callable[[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]


@evaluations.register("default")
class Evaluation:
    """Roll out whole episodes. The same seed gives the same starts, hazard draws and policy noise to every method.

    Args:
        episodes: Episodes; with the paper's 10, CVaR_0.1 would be the single worst one.
        alphas: Levels of the reported CVaR.
        seed: Seed of starts, hazards and policy noise, beside the run's.
        environments: Environments that are stepped at once.
        every: Gradient steps between evaluations, 0 for one at the end.
        average: How many of the last evaluated checkpoints a run is scored over; 1, as the paper reports the last one.
        keep: Keep every evaluated checkpoint, not only the last.
    """

    def __init__(
        self, *, episodes: int = 100, alphas: tuple[float, ...] = (0.05, 0.1, 0.25), seed: int = 0,
        environments: int = 50, every: int = 0, average: int = 1, keep: bool = False,
    ) -> None:  # fmt: skip
        at_least(1, episodes=episodes, environments=environments, average=average)
        at_least(0, seed=seed, every=every)
        at_most(10**6, episodes=episodes)
        for alpha in alphas:
            CVaR(alpha=alpha)
        self.episodes, self.alphas, self.seed = episodes, tuple(alphas), seed
        self.environments, self.every, self.average, self.keep = environments, every, average, keep

    def refuse_average(self, steps: int) -> None:
        """Refuse to average over more checkpoints than a run of `steps` gradient steps evaluates. Raises InputError."""
        count = math.ceil(steps / self.every) if self.every else 1
        if self.average > count:
            most = (steps - 1) // (self.average - 1)
            choice = f"evaluation.every from 1 to {most}" if most else f"evaluation.average from 1 to {steps}"
            raise InputError(
                f"evaluation.average={self.average}: with evaluation.every={self.every} and {steps} gradient steps a "
                f"run is evaluated {count} time{'s' if count > 1 else ''}; choose {choice}"
            )

    def starts(self, seed: int) -> list[tuple[int, int]]:
        """Of each episode the seeds of its environment and of the policy's noise; `seed` is the run's.

        Those of episode i do not depend on how many episodes there are.
        """
        words = [np.random.SeedSequence([self.seed, seed, i]).generate_state(2) for i in range(self.episodes)]
        return [(int(environment), int(policy)) for environment, policy in words]

    def run(self, agent: Agent, task: Task, seed: int, watch: Watch | None = None) -> list[dict[str, Any]]:
        """One row per episode. `seed` is the run's, so that runs of several seeds see different episodes.

        The training's random stream is left alone, and the result does not depend on it, nor on `environments`.
        Raises EnvironmentFault, and NonFinite for a reward or an observation.
        """
        starts = self.starts(seed)
        together = min(self.environments, max(1, ROWS // agent.acting.candidates))  # as many as the agent takes
        shared, rows = int(np.random.SeedSequence([self.seed, seed]).generate_state(1)[0]), []
        for i in range(0, len(starts), together):
            with seeded(shared, agent.actor.scaling.centre.device):  # for draws that are no episode's
                rows += rollout(agent, task.environment, starts[i : i + together], watch, i)
        return [{"episode": i, **row} for i, row in enumerate(rows)]

    def summary(self, *checkpoints: list[dict[str, Any]]) -> dict[str, Any]:
        """Statistics of the rows of one checkpoint, or of as many of each of several, together.

        Mean, deviation, tails, worst episode, share of risky steps, number of penalties; 95 % intervals.
        """
        rows = [row for checkpoint in checkpoints for row in checkpoint]
        returns = np.array([row["return"] for row in rows])
        parts = [returns.reshape(len(checkpoints), -1)]
        statistics = {"mean": np.mean, **{f"{alpha:g}": partial(cvar, alpha=alpha) for alpha in self.alphas}}
        return {
            "episodes": len(rows),
            "return_mean": float(returns.mean()),
            "return_std": float(returns.std()),
            "return_min": float(returns.min()),
            "return_trimmed_mean": float(trimmed_mean(returns)),
            "return_cvar": tails(returns, self.alphas),
            "intervals": {k: list(interval(parts, f)) for k, f in statistics.items()} if parts[0].shape[1] > 1 else {},
            "hazard_rate": sum(row["risky_steps"] for row in rows) / sum(row["length"] for row in rows),
            "penalties": sum(row["penalties"] for row in rows),
        }


def rollout(
    agent: Agent, environment: Callable[[], gym.Env], starts: Sequence[tuple[int, int]], watch: Watch | None = None,
    first: int = 0, limit: float = math.inf,
) -> list[dict[str, Any]]:  # fmt: skip
    """First episode of one environment per start, all stepped together; `watch` is called at every step.

    A start: the seeds of the environment and of the policy's noise. `first`: number of the first episode; `limit`: most
    steps. Raises EnvironmentFault, and NonFinite for a reward or an observation.
    """
    make = environment
    if isinstance(agent.risk, Episode):
        gamma = agent.risk.gamma.item()

        def make() -> gym.Env:
            return RewardSoFar(environment(), gamma)

    seeds, noise = [start[0] for start in starts], EpisodeNoise([start[1] for start in starts])
    numbers = range(first, first + len(seeds))
    rows = [{"return": 0.0, "length": 0, "risky_steps": 0, "penalties": 0} for _ in starts]
    alive, step = np.ones(len(seeds), bool), 0
    with closing(vectorised([partial(CheckedEnvironment.of, make, number) for number in numbers])) as envs:
        observation, _ = envs.reset(seed=list(seeds))
        while alive.any() and step < limit:
            with noise:  # asked for all episodes, also those that have ended: a smaller batch would round differently
                action = agent.act(observation)
            before, observation = observation, observation.copy()
            reward, cut = np.zeros(len(seeds)), np.zeros(len(seeds), bool)
            for i in np.flatnonzero(alive).tolist():
                observation[i], reward[i], terminated, truncated, info = envs.envs[i].step(action[i])
                for key, value in zip(rows[i], (float(reward[i]), 1, info["risky"], info["penalty"]), strict=True):
                    rows[i][key] += value
                alive[i], cut[i] = not (terminated or truncated), truncated and not terminated
            if watch is not None:
                watch(step, before, action, reward, cut)
            step += 1
    return rows


def vectorised(makers: Sequence[Callable[[], gym.Env]]) -> SyncVectorEnv:
    """The environments as one. Raises EnvironmentFault."""
    with ExitStack() as made:  # those that a failure leaves are closed
        try:
            envs = SyncVectorEnv([lambda make=make: made.enter_context(closing(make())) for make in makers])
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:  # spaces that differ
            if isinstance(error, InputError | EnvironmentFault):
                raise
            raise EnvironmentFault(f"the environments cannot be stepped together: {described(error)}") from error
        made.pop_all()
    return envs


def try_out(agent: Agent, task: Task, evaluation: Evaluation, seed: int) -> None:
    """One reset and one step as `evaluation` will make them. Raises InputError for what fails in a first step.

    It draws from no generator of the training; NumPy's and Python's global ones, which an environment may use, are set
    back.
    """
    spec = agent.actor.data_spec
    before = np.random.get_state(), random.getstate()  # noqa: NPY002

    def refuse_outside(_: int, observation: np.ndarray, action: np.ndarray, *rest: np.ndarray) -> None:
        if not ((action >= spec.low) & (action <= spec.high)).all():
            raise InputError(f"the policy's action {action[0].tolist()} is outside the box {spec.low} to {spec.high}")

    starts = evaluation.starts(seed)[: min(2, evaluation.environments)]  # two, where they are stepped together
    try:
        with seeded(0, agent.actor.scaling.centre.device):
            rollout(agent, task.environment, starts, refuse_outside, limit=1)
    except EnvironmentFault as error:
        raise InputError(f"the environment cannot be used: {error}") from error
    finally:
        np.random.set_state(before[0])  # noqa: NPY002
        random.setstate(before[1])


def film(agent: Agent, task: Task, starts: Sequence[tuple[int, int]], folder: Path) -> None:
    """One video per start of `Evaluation.starts`, in `folder/videos`, by Gymnasium's recorder.

    It shows the evaluation's episode. Raises InputError when nothing can be drawn or written.
    """
    from gymnasium.wrappers import RecordVideo  # imports a video library

    def recorded(name: str) -> gym.Env:
        settings: dict[str, Any] = {"episode_trigger": lambda _: True, "name_prefix": name, "disable_logger": True}
        with warnings.catch_warnings(action="ignore"):  # when the folder exists, as for the second video
            return RecordVideo(task.environment("rgb_array"), str(folder / "videos"), **settings)

    hint = "pip install 'ramac[video]'; without a display MUJOCO_GL=egl or osmesa"
    for i, start in enumerate(starts):
        try:
            with seeded(start[1], agent.actor.scaling.centre.device):
                rollout(agent, partial(recorded, f"film-{i}"), [start])
        except (InputError, NonFinite):
            raise
        except Exception as error:  # no recorder, no renderer, no display: each library has its own exceptions
            raise InputError(f"video={len(starts)} cannot be made: {' '.join(str(error).split())}; {hint}") from error
        if not any((folder / "videos").glob(f"film-{i}*")):  # written when the environment is closed
            raise InputError(f"video={len(starts)} cannot be made: nothing was written; {hint}")
