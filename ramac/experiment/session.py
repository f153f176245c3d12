"""A run while its process lasts: where it goes on, what is done after an update, and the time that it took."""

import time
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from tensordict import TensorDict

from ramac.errors import InputError
from ramac.experiment import states
from ramac.experiment.recorder import Record
from ramac.experiment.states import Progress
from ramac.system.runtime import versions
from ramac.training.nan_guard import NanGuard
from ramac.training.trainer import Trainer


class Session:
    """Trainer and records of one run, or of several seeds that are trained as one.

    Times are as if there had been no session before: what was lost between them does not count.
    """

    def __init__(self, trainer: Trainer, records: Sequence[Record], began: float) -> None:
        """`began`: when the process began with it, of `time.perf_counter`."""
        self.trainer, self.records, self.data = trainer, list(records), records[0].data
        self.folders = [record.folder for record in records]
        self.watch = NanGuard(trainer, self.folders)
        self.saved = 0  # the last update after which there is a training state
        self.began, self.started = began, time.perf_counter()  # the run, and its updates without evaluations

    def circumstances(self) -> dict[str, str]:
        """On what the last digits of numbers depend beside the configuration."""
        machine = {"device": str(self.trainer.step.device), "threads": str(torch.get_num_threads())}
        return {**machine, "processor": torch.backends.cpu.get_cpu_capability(), **versions(["ramac", "torch"])}

    def begin(self) -> None:
        """Go on after the newest sound training state, if the run was interrupted, else from the start.

        Raises InputError when the folder is another run's.
        """
        found = []
        if any(record.goes_on for record in self.records):
            self.refuse_others()
            found = states.newest(self.folders, self.trainer.state())
        for record, (_, progress) in zip(self.records, found, strict=False):
            self.refuse_other_data(record, progress)
        if found:
            state, progress = [state for state, _ in found], [progress for _, progress in found]
            self.warn(progress[0])
            try:
                self.trainer.load_state(state, [one.metrics for one in progress], progress[0].updates)
            except RuntimeError as error:
                raise InputError(f"the training state in {self.folders[0]} cannot be used: {error}") from error
            self.saved = progress[0].updates
            self.began -= progress[0].seconds
            self.started = time.perf_counter() - progress[0].training_seconds
            for record, one in zip(self.records, progress, strict=True):
                record.begin(one)
        else:
            for record in self.records:
                record.begin(None)

    def refuse_others(self) -> None:
        """Of seeds that are trained as one, none may have come from a run of its own. Raises InputError."""
        count = len(self.folders)
        for folder in self.folders if count > 1 else ():
            for updates in states.kept(folder):
                try:
                    together = states.progress_of(folder, updates).together
                except InputError:  # a damaged one tells nothing; `states.newest` warns of it
                    continue
                if together != count:
                    raise InputError(f"run_dir={folder} already holds another run, not with seeds={count}")

    def refuse_other_data(self, record: Record, progress: Progress) -> None:
        """Raise InputError where the data are no longer those that the run began with."""
        if progress.data != self.data.digest:
            text = f"run_dir={record.folder}: update {progress.updates} was reached with other data"
            raise InputError(f"{text} than there are now ({self.data.origin}); name a new folder")

    def warn(self, progress: Progress) -> None:
        """Say what may change the last digits of the numbers."""
        folder, now = self.folders[0], self.circumstances()
        before = progress.circumstances
        changed = [f"{key} {before.get(key)}, now {value}" for key, value in now.items() if before.get(key) != value]
        if progress.together != len(self.records):
            changed.append(f"{progress.together} seeds as one, now alone")
        if changed:
            warnings.warn(f"{folder} began with {'; '.join(changed)}: numbers may round differently", stacklevel=2)

    def log(self, step: int, metrics: TensorDict) -> dict[str, float]:
        """Write the numbers of an update; returns the first seed's. Raises FloatingPointError where one is gone."""
        self.watch.check()
        each = self.trainer.split(metrics)
        written = [record.log(step, found) for record, found in zip(self.records, each, strict=True)]
        return written[0]

    def save(self, step: int, metrics: TensorDict) -> None:
        """Keep the training state. Raises OSError, FloatingPointError where a number is gone."""
        self.watch.check()
        moment = time.perf_counter()
        now: dict[str, Any] = {"training_seconds": moment - self.started, "seconds": moment - self.began}
        now |= {"together": len(self.records), "circumstances": self.circumstances()}
        for record, state, found in zip(self.records, self.trainer.state(), self.trainer.split(metrics), strict=True):
            last = {str(key): float(value) for key, value in found.items()}  # type: ignore[arg-type]
            record.save(state, Progress(step, self.data.digest, last, **now))
        self.saved = step

    def evaluate(self, step: int) -> None:
        """Evaluate each seed's policy, which does not count as training time. Raises RunStopped."""
        self.watch.check()
        moment = time.perf_counter()
        for record in self.records:
            record.evaluate(step)
        self.started += time.perf_counter() - moment

    def speed(self) -> dict[str, float]:
        """Fields of the summary once training has ended."""
        found: dict[str, float] = {"updates_per_second": self.trainer.steps / (time.perf_counter() - self.started)}
        return found | ({"seeds_together": len(self.records)} if len(self.records) > 1 else {})

    def whereabouts(self) -> list[str]:
        """Lines that say where the run is written, and where it goes on."""
        lines = [f"run folder: {folder}" for folder in self.folders]
        return lines + ([f"goes on from update {self.saved}; run_dir=NEW starts anew"] if self.saved else [])

    def way_on(self) -> str:
        """How to continue, for the end of a message."""
        if not self.saved:
            return "the same command starts it anew"
        alone = f", or ramac resume {self.folders[0]}," if len(self.folders) == 1 else ""
        return f"the same command{alone} goes on from update {self.saved}"
