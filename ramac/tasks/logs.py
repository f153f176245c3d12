"""Logged data and nothing else: no environment, so some episodes are kept from training to check estimates on."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from ramac.data import Act, Dataset, Log
from ramac.data.check import bounded, errors
from ramac.errors import InputError, at_least
from ramac.registry import tasks
from ramac.tasks import LoggedTask, refuse_bounds


@tasks.register("logs")
class LogsTask(LoggedTask):
    """Your own data, `data=ID|FILE`, and no environment: an estimate from held-out episodes judges the policy.

    Args:
        held_out: Share of whole episodes that training never sees; one of five folds, as in docs/results/data.md.
        split_seed: Seed that chooses them.
        low: Lower bound of every action coordinate; the logged actions' own if null.
        high: Upper bound of every action coordinate; the logged actions' own if null.
    """

    has_environment = False

    def __init__(
        self,
        *,
        held_out: float = 0.2,
        split_seed: int = 0,
        low: float | None = None,
        high: float | None = None,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        at_least(0, split_seed=split_seed)
        if not 0 < held_out < 1:
            raise ValueError(f"held_out must be inside (0, 1), got {held_out}")
        refuse_bounds(low, high)
        self.held_out, self.split_seed, self.low, self.high = held_out, split_seed, low, high

    def dataset(self) -> Dataset:
        log, origin = self.clean()
        anywhere = gymnasium.spaces.Box(-np.inf, np.inf, log.action.shape[1:], np.float32)
        for finding in errors(log, anywhere.low, anywhere.high):  # non-finite values, before a box is made of them
            raise InputError(f"{origin}: {finding.text}")
        try:
            box = bounded(log, anywhere, self.low, self.high)
        except InputError as error:
            raise InputError(f"{origin}: {error}") from error
        for finding in errors(log, box.low, box.high):
            raise InputError(f"{origin}: {finding.text}")
        log = self.hazard.relabel(log, self.hazard_seed)
        if np.ptp(log.logged_returns(self.gamma)) == 0:
            raise InputError(f"{origin}: every return is {log.reward[0]:g}, so no policy is better than another")
        train, held_out = self.split(log)
        counts = f"{len(train.reward)} steps in {len(train.start)} episodes, {len(held_out.start)} more held out"
        return Dataset(train, train.spec(box, self.gamma), train.returns(), f"{origin}: {counts}", held_out)

    def split(self, log: Log) -> tuple[Log, Log]:
        """Training part and held-out part, whole episodes. Raises InputError when either would be empty."""
        episodes = len(log.start)
        count = round(self.held_out * episodes)
        if not 0 < count < episodes:
            what = "none" if count == 0 else "all"
            choice = f"choose a share from {1 / episodes:.2g} to {1 - 1 / episodes:.2g}"
            choice = choice if episodes > 1 else "at least 2 episodes are needed"
            raise InputError(f"task.held_out={self.held_out:g} of {episodes} episodes holds out {what}; {choice}")
        chosen = np.zeros(episodes, bool)
        chosen[np.random.default_rng(self.split_seed).choice(episodes, count, replace=False)] = True
        rows = chosen[log.episode]
        return log.keep(~rows), log.keep(rows)

    def environment(self, render_mode: str | None = None) -> gymnasium.Env:
        raise InputError("task=logs has no environment to play in; set task=gymnasium task.environment=ID to have one")

    def report(self, act: Act, data: Dataset, returns: np.ndarray, title: str, folder: Path) -> dict[str, Any]:
        return self.ood(act, data)
