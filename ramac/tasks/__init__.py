"""Tasks: where the logged data come from, the environment that judges a policy, and the figures of a run."""

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from omegaconf import DictConfig

from ramac.data import Act, Dataset, Log
from ramac.data.check import bounded, refuse
from ramac.data.ood import Detector
from ramac.data.sources import load
from ramac.data.spaces import NESTED, as_vectors
from ramac.environments import EpisodeLimit, made, make, with_own_dtype
from ramac.errors import InputError, at_least, described, optional, warn
from ramac.hazards import Hazard, HazardWrapper, NoHazard
from ramac.optimum import Process
from ramac.registry import hazards, label_of, tasks
from ramac.text import say

Names = Mapping[str, Any]
LEAST_LIMIT, LONGER = 10_000, 10  # an episode that nothing cuts: so many steps, or times the longest logged one

__all__ = ["Act", "Column", "Dataset", "LoggedTask", "Task", "configured"]


@dataclass(frozen=True)
class Column:
    """One value that a task adds to summary.json under `key`: how tables title, explain and format it.

    A summary may hold the same value of the logged data, under `data_<key>`.
    """

    key: str
    title: str
    meaning: str
    style: str = ".1%"


class Task(ABC):
    """A problem.

    Args:
        steps: Gradient steps of a run on this task.
        gamma: Discount per step of a run on this task.
    """

    has_environment: ClassVar[bool] = True  # False where a policy can only be judged by the logged data
    builds_data: ClassVar[bool] = False  # True where `build` makes the dataset `dataset_id`
    columns: ClassVar[tuple[Column, ...]] = ()  # what `report` adds to summary.json
    paths: ClassVar[tuple[str, ...]] = ()  # arguments that are files or folders: a run stores them absolute
    horizon: int | None = None  # steps of an evaluation episode; None: the environment's own limit
    source: str | Log | None = None  # replaces the task's own data
    names: Names | None = None  # of the columns of that data, by role

    def use(self, *, data: str | Log | None = None, hazard: Hazard | None = None, columns: Names | None = None) -> None:
        """Replace the task's own data or hazard. `columns`: names of the data's columns by role.

        Raises InputError when it makes them itself.
        """
        for what, given in (("data", data), ("hazard", hazard)):
            if given is not None:
                hint = f"{what}= goes with task=gymnasium or one of MuJoCo's"
                raise InputError(f"{type(self).__name__} makes its own {what}; {hint}")

    @property
    def dataset_id(self) -> str | None:
        """Minari id of the dataset that this task builds."""
        return None

    def build(self) -> str:
        """Make the dataset `dataset_id` unless it is on disk; return its folder. Raises InputError on failure."""
        raise InputError(f"{type(self).__name__} has no data to build")

    def score(self, mean: float) -> float | None:
        """Normalised score of a mean return, where the task has one."""
        return None

    def process(self, fineness: int) -> Process:
        """The problem on a grid, whose spacing is the coarsest divided by `fineness`. Raises InputError without one."""
        known = [name for name, entry in tasks.items() if entry.process is not Task.process]
        raise InputError(f"task={label_of(tasks, type(self))} has no known best policy; choose from {', '.join(known)}")

    @abstractmethod
    def dataset(self) -> Dataset:
        """Load or make the logged data. Raises InputError when it cannot be used."""

    @abstractmethod
    def environment(self, render_mode: str | None = None) -> gym.Env:
        """One environment that ends at the horizon; `info` of each step has `risky` and `penalty`."""

    @abstractmethod
    def report(self, act: Act, data: Dataset, returns: np.ndarray, title: str, folder: Path) -> dict[str, Any]:
        """Write the figures of a policy, with its episode `returns`, into `folder`; return own summary fields."""


def refuse_bounds(low: float | None, high: float | None) -> None:
    """Refuse bounds of actions that are infinite, or in the wrong order. Raises ValueError."""
    for name, bound in (("low", low), ("high", high)):
        if bound is not None and not math.isfinite(bound):
            raise ValueError(f"{name} must be finite, got {bound}")
    if low is not None and high is not None and not low < high:
        raise ValueError(f"low must be below high, got {low:g} and {high:g}")


def configured(config: Mapping[str, Any] | DictConfig, log: Log | None = None) -> Task:
    """Build `task` of a run's configuration; its `data` and `hazard`, where set, replace the task's own."""
    task: Task = tasks.build(config["task"])
    hazard, source = config.get("hazard"), config.get("data")
    data = log if log is not None or source is None else str(source)
    columns = config.get("columns")
    if columns and data is None:
        raise InputError("data.columns names the columns of a file or folder; set data=FILE too")
    named = {"columns": columns} if columns else {}  # a task of a plug-in may not know them
    task.use(data=data, hazard=None if hazard is None else hazards.build(hazard), **named)
    return task


class LoggedTask(Task):
    """Logged data with clean rewards, and an environment. `hazard` is the only place that defines it, for both sides.

    Penalties are added to the data on loading.

    Args:
        hazard_seed: Seed of the penalties in the data.
        gamma: Discount per step of a run on this task; 0.99 as in RADAC, 1 where the task makes whole episodes.
    """

    columns = (Column("score", "D4RL score", "D4RL's normalised score of the mean return, mean over runs", ".1f"),)
    environment_id: str | None = None
    low: float | None = None  # bounds of action coordinates that the environment leaves open
    high: float | None = None
    _loaded: tuple[Log, str] | None = None
    reference: ClassVar[tuple[float, float] | None] = None  # return of a random and of an expert policy

    def __init__(self, *, hazard_seed: int = 0, steps: int = 10_000, gamma: float = 0.99) -> None:
        at_least(0, hazard_seed=hazard_seed)
        self.hazard: Hazard = NoHazard()
        self.hazard_seed, self.gamma = hazard_seed, gamma

    def use(self, *, data: str | Log | None = None, hazard: Hazard | None = None, columns: Names | None = None) -> None:
        self.source, self._loaded = self.source if data is None else data, None
        self.names = columns
        self.hazard = self.hazard if hazard is None else hazard

    def clean(self) -> tuple[Log, str]:
        """The data before hazards, and one line that names them. Raises InputError when they cannot be used."""
        if self.source is None:
            raise InputError(
                "this task has no data of its own; set data=ID or data=FILE, e.g. data=mujoco/hopper/expert-v0"
            )
        if isinstance(self.source, Log):
            return self.source, "arrays from Python"
        return load(self.source, self.names), f"dataset {self.source}"

    def loaded(self) -> tuple[Log, str]:
        """`clean`, read once."""
        if self._loaded is None:
            self._loaded = self.clean()
        return self._loaded

    def judge(self) -> tuple[str | EnvSpec, str]:
        """The environment, and who chose it: the task, or the data. Raises InputError where neither names one."""
        if self.environment_id:
            return self.environment_id, "the task's"
        log, _ = self.loaded()
        if log.evaluation_environment:
            return log.evaluation_environment, "the data's evaluation environment"
        if log.environment:
            return log.environment, "the data were collected in it"
        raise InputError("these data do not say what environment they are of; set task.environment=ID")

    def dataset(self) -> Dataset:
        log, origin = self.loaded()
        name = str(self.source) if isinstance(self.source, str) else origin
        chosen, rule = self.judge()
        with made(chosen) as plain:
            env = as_vectors(plain, log.parts)
            refuse(log, name, env)
            box = self.box(log, name, env)
        log = self.hazard.relabel(log, self.hazard_seed)
        origin += f": {len(log.reward)} steps in {len(log.start)} episodes"
        environment = {"id": chosen if isinstance(chosen, str) else chosen.id, "rule": rule}
        spec = log.spec(box, self.gamma)
        return Dataset(log, spec, log.returns(self.horizon), origin, environment=environment)

    def box(self, log: Log, name: str, env: gym.Env) -> gym.spaces.Box:
        """Finite bounds of actions; those that the environment leaves open are said once. Raises InputError."""
        space, label = env.action_space, env.spec.id if env.spec else str(env)
        assert isinstance(space, gym.spaces.Box)  # refused otherwise
        try:
            box = bounded(log, space, self.low, self.high)
        except InputError as error:
            raise InputError(f"dataset {name!r} in {label}, whose actions have no bounds: {error}") from error
        if box is not space:
            bounds = ", ".join(f"{low:g} to {high:g}" for low, high in zip(box.low[:8], box.high[:8], strict=True))
            bounds += ", ..." * (len(box.low) > 8)
            text = f"{label} leaves actions without bounds; the policy's are those of the data"
            warnings.warn(f"{text} or of task.low and task.high: {bounds}", stacklevel=2)
        return box

    def environment(self, render_mode: str | None = None) -> gym.Env:
        options = {} if render_mode is None else {"render_mode": render_mode}
        env = make(self.judge()[0], disable_env_checker=True, max_episode_steps=self.horizon, **options)
        if isinstance(env.observation_space, NESTED):
            env = as_vectors(env, self.loaded()[0].parts)
        if self.horizon is None and env.spec and env.spec.max_episode_steps is None:
            env = EpisodeLimit(env, max(LEAST_LIMIT, LONGER * int(self.loaded()[0].lengths.max())))
        return HazardWrapper(with_own_dtype(env), self.hazard)

    def score(self, mean: float) -> float | None:
        """D4RL's normalised score 100 (R - random) / (expert - random) of a return, where the environment has one."""
        if self.reference is None:
            return None
        low, high = self.reference
        return 100 * (mean - low) / (high - low)

    def report(self, act: Act, data: Dataset, returns: np.ndarray, title: str, folder: Path) -> dict[str, Any]:
        with optional("returns.png"):
            from ramac.plotting import return_figure  # imports matplotlib

            return_figure(returns, data.returns, self.horizon, title, folder / "returns.png")
        score = self.score(float(returns.mean()))
        return ({} if score is None else {"score": score}) | self.ood(act, data)

    def ood(self, act: Act, data: Dataset) -> dict[str, Any]:
        """Summary field `ood`: shares of out-of-distribution actions; nothing where the data are too few."""
        try:
            return {"ood": Detector(data.log, data.spec.low, data.spec.high).report(act, data.held_out)}
        except InputError as error:
            say(f"no share of out-of-distribution actions: {error}", error=True)
        except Exception as error:
            warn(f"ood of summary.json left out: {described(error)}")
        return {}
