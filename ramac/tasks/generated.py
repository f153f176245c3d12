"""Tasks whose logged episodes are made in memory, all of the same length."""

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from ramac.data import Log
from ramac.errors import at_least, at_most
from ramac.registry import label_of, tasks
from ramac.tasks import LoggedTask


class GeneratedTask(LoggedTask):
    """Whole episodes of `length` steps, drawn from `data_seed`; they end by termination.

    Args:
        transitions: Logged steps.
        data_seed: Seed of the logged data.
    """

    length: ClassVar[int]

    def __init__(self, *, transitions: int, data_seed: int = 0, gamma: float = 1.0, **more: Any) -> None:
        super().__init__(gamma=gamma, **more)  # gamma 1: the optimum is of the undiscounted return
        at_least(self.length, transitions=transitions)
        at_most(10**7, transitions=transitions)
        at_least(0, data_seed=data_seed)
        self.transitions, self.data_seed = transitions, data_seed

    @abstractmethod
    def draw(self, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Observations [count, length + 1, O], actions [count, length] and rewards [count, length] of episodes."""

    @staticmethod
    @abstractmethod
    def density(log: Log) -> np.ndarray:
        """Density of each action of whole episodes, given the episode's earlier steps: [T]; of an atom, its mass."""

    def clean(self) -> tuple[Log, str]:
        if self.source is not None:
            return super().clean()
        count = self.transitions // self.length
        drawn = self.draw(count, np.random.default_rng(self.data_seed))
        seen, action, reward = (part.astype(np.float32) for part in drawn)
        now, then = (part.reshape(count * self.length, -1) for part in (seen[:, :-1], seen[:, 1:]))
        each = np.arange(len(now))
        ended, start = each % self.length == self.length - 1, each[:: self.length]
        log = Log(now, action.reshape(-1, 1), reward.ravel(), then, ended, start, behaviour=self.density)
        return log, f"{label_of(tasks, type(self))}, made in memory from seed {self.data_seed}"
