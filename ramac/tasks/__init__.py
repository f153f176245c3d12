"""Tasks: where the logged data come from, the environment that judges a policy, and the figures of a run."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from omegaconf import DictConfig

from ramac.data import Act, Dataset, Log
from ramac.environments import make
from ramac.errors import InputError
from ramac.hazards import Hazard, HazardWrapper
from ramac.registry import hazards, tasks

__all__ = ["Act", "Dataset", "LoggedTask", "Task", "configured"]


class Task(ABC):
    """A problem. The arguments `steps` (updates of a run) and `gamma` (discount) are what its runs take by default."""

    has_environment: ClassVar[bool] = True  # False where a policy can only be judged by the logged data

    def use(self, *, data: str | Log | None = None, hazard: Hazard | None = None) -> None:
        """Take other data or another hazard than the task's own. Raises InputError when it has no place for them."""
        if data is not None or hazard is not None:
            what = "data" if data is not None else "hazard"
            raise InputError(
                f"{type(self).__name__} makes its own {what}; {what}= goes with task=gymnasium or one of MuJoCo's"
            )

    @abstractmethod
    def dataset(self) -> Dataset:
        """Load or make the logged data. Raises InputError when it cannot be used."""

    @abstractmethod
    def environment(self, render_mode: str | None = None) -> gym.Env:
        """One environment that ends at the horizon; `info` of each step has `risky` and `penalty`."""

    @abstractmethod
    def report(self, act: Act, data: Dataset, returns: np.ndarray, title: str, folder: Path) -> dict[str, Any]:
        """Write the figures of a policy, with its episode `returns`, into `folder`; return own summary fields."""


def configured(config: Mapping[str, Any] | DictConfig, log: Log | None = None) -> Task:
    """The task of a run's configuration: `task`, with `data` and `hazard` in place of its own where they are set."""
    task: Task = tasks.build(config["task"])
    hazard, source = config.get("hazard"), config.get("data")
    data = log if log is not None or source is None else str(source)
    task.use(data=data, hazard=None if hazard is None else hazards.build(hazard))
    return task


class LoggedTask(Task):
    """Logged data with clean rewards, and an environment. `hazard` is the only place that defines it, for both sides.

    Penalties are added to the data on loading, from `hazard_seed`.
    """

    environment_id: str | EnvSpec | None
    hazard: Hazard
    horizon: int | None  # steps of an evaluation episode; None: the environment's own limit
    hazard_seed: int
    gamma: float
    source: str | Log | None = None
    reference: ClassVar[tuple[float, float] | None] = None  # return of a random and of an expert policy

    def use(self, *, data: str | Log | None = None, hazard: Hazard | None = None) -> None:
        self.source = self.source if data is None else data
        self.hazard = self.hazard if hazard is None else hazard

    def clean(self) -> tuple[Log, str]:
        """The data before hazards, and one line on what they are. Raises InputError when they cannot be used."""
        if self.source is None:
            raise InputError(
                "this task has no data of its own; set data=ID or data=FILE, e.g. data=mujoco/hopper/expert-v0"
            )
        if isinstance(self.source, Log):
            return self.source, "arrays from Python"
        from ramac.data.sources import load

        return load(self.source), f"dataset {self.source}"

    def dataset(self) -> Dataset:
        from ramac.data.check import refuse

        log, origin = self.clean()
        self.environment_id = self.environment_id or _environment_of(log)
        env = make(self.environment_id)
        if self.horizon is None and env.spec and env.spec.max_episode_steps is None:
            raise InputError(f"{env.spec.id} never cuts an episode; set task.horizon=STEPS for the evaluation")
        refuse(log, str(self.source) if isinstance(self.source, str) else origin, env)
        log = self.hazard.relabel(log, self.hazard_seed)
        origin += f": {len(log.reward)} steps in {len(log.start)} episodes"
        assert isinstance(env.action_space, gym.spaces.Box)  # refused otherwise
        return Dataset(log, log.spec(env.action_space, self.gamma), log.returns(self.horizon), origin)

    def environment(self, render_mode: str | None = None) -> gym.Env:
        if self.environment_id is None:
            self.environment_id = _environment_of(self.clean()[0])
        options: dict[str, Any] = {} if self.horizon is None else {"max_episode_steps": self.horizon}
        options |= {} if render_mode is None else {"render_mode": render_mode}
        return HazardWrapper(make(self.environment_id, disable_env_checker=True, **options), self.hazard)

    def score(self, mean: float) -> float | None:
        """D4RL's normalised score 100 (R - random) / (expert - random) of a return, where the environment has one."""
        if self.reference is None:
            return None
        low, high = self.reference
        return 100 * (mean - low) / (high - low)

    def report(self, act: Act, data: Dataset, returns: np.ndarray, title: str, folder: Path) -> dict[str, Any]:
        from ramac.data.ood import Detector
        from ramac.plotting import return_figure

        return_figure(returns, data.returns, self.horizon, title, folder / "returns.png")
        own = {} if (score := self.score(float(returns.mean()))) is None else {"score": score}
        try:
            return own | {"ood": Detector(data.log).report(act)}
        except InputError as error:  # too few data to tell
            print(f"no share of out-of-distribution actions: {error}", file=sys.stderr)
            return own


def _environment_of(log: Log) -> EnvSpec:
    if log.environment is None:
        raise InputError("these data do not say what environment they are of; set task.environment=ID")
    return log.environment
