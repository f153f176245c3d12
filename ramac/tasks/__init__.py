"""Tasks: where the logged data come from, the environment that judges a policy, and the figures of a run."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
from omegaconf import DictConfig
from tensordict import TensorDict

from ramac.data import Log
from ramac.errors import InputError
from ramac.files import checksum
from ramac.hazards import Hazard
from ramac.registry import hazards, tasks
from ramac.spec import Spec

Act = Callable[[np.ndarray], np.ndarray]  # observation [B, O] -> action [B, A]


@dataclass
class Dataset:
    """Logged data, ready for training."""

    log: Log
    spec: Spec
    returns: np.ndarray  # [episodes] return of the behaviour over the task's horizon, hazards included
    origin: str  # one line: what it is and where it lies
    held_out: Log | None = None  # whole episodes that training never sees

    @cached_property
    def transitions(self) -> TensorDict:
        """The steps [T] in the keys of ramac.spec."""
        return self.log.transitions()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the transitions."""
        return checksum(dict(self.transitions.flatten_keys(".").items()), "")  # type: ignore[arg-type]


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
    def environment(self, render_mode: str | None = None) -> gymnasium.Env:
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
