"""Tasks: where the logged data come from, the environment that judges a policy, and the figures of a run."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from tensordict import TensorDict

from ramac.spec import Spec

Act = Callable[[np.ndarray], np.ndarray]  # observation [B, O] -> action [B, A]


@dataclass
class Dataset:
    """Logged data, ready for training."""

    transitions: TensorDict  # [T], keys as in ramac.spec
    spec: Spec
    returns: np.ndarray  # [episodes] return of the behaviour over the task's horizon, hazards included
    origin: str  # one line: what it is and where it lies


class Task(ABC):
    """A problem. The arguments `steps` (updates of a run) and `gamma` (discount) are what its runs take by default."""

    @abstractmethod
    def dataset(self) -> Dataset:
        """Load or make the logged data. Raises InputError when it cannot be used."""

    @abstractmethod
    def environment(self) -> gymnasium.Env:
        """One environment that ends at the horizon; `info` of each step has `risky` and `penalty`."""

    @abstractmethod
    def report(self, act: Act, data: Dataset, returns: np.ndarray, title: str, folder: Path) -> dict[str, Any]:
        """Write the figures of a policy, with its episode `returns`, into `folder`; return own summary fields."""
