"""The folder of a run: where its files are, how far it has come, and which process writes into it."""

import os
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from ramac import checkpoint
from ramac.errors import InputError
from ramac.experiment.config import RunConfig
from ramac.experiment.paths import around, located
from ramac.experiment.stored import checked, read_config
from ramac.system.files import PART
from ramac.system.paths import inside, refuse_unsafe, regular
from ramac.system.untrusted import read_json

PATIENCE = 1  # seconds: who asks how a run stands holds its lock for a moment
State = Literal["empty", "running", "interrupted", "failed", "finished"]


class Taken(InputError):
    """A folder that holds something else."""


def place(name: str) -> Any:
    """A property of a folder: the path of a file or folder in it."""

    def path(self: "RunFolder") -> Path:
        return self.path / name

    return property(path)


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run. `path` need not exist yet."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    config_file = place("config.yaml")
    summary_file = place("summary.json")
    metrics_file = place("metrics.csv")
    episodes_file = place("episodes.csv")
    failure_file = place("failed.json")
    environment_file = place("environment.txt")
    traceback_file = place("traceback.txt")
    calibration_file = place("calibration.json")
    regret_file = place("regret.json")
    frontier_file = place("frontier.json")
    estimate_file = place("estimate.json")
    lock_file = place(".lock")
    checkpoint = place("checkpoint")
    checkpoints = place("checkpoints")
    states = place("states")
    evaluations = place("evaluations")

    @property
    def state(self) -> State:
        """How the run stands; `running` while a process holds the folder's lock."""
        if os.path.exists(self.summary_file):
            return "finished"
        if os.path.exists(self.lock_file):
            try:
                with FileLock(self.lock_file, timeout=0):
                    pass
            except Timeout:
                return "running"
            except OSError:  # a folder of another user, which this process cannot run, or no lock of a run
                pass
        if os.path.exists(self.failure_file):
            return "failed"
        return "interrupted" if os.path.exists(self.config_file) else "empty"

    @property
    def step(self) -> int | None:
        """The gradient step of its checkpoint; None where the checkpoint does not tell."""
        return checkpoint.step_of(self.checkpoint)

    @property
    def kept(self) -> list[int]:
        """The gradient steps of the kept checkpoints, the first one first."""
        names = [path.name for path in inside(self.checkpoints, self.path).glob("*")]
        return sorted(int(name) for name in names if re.fullmatch("[0-9]{1,18}", name))

    @property
    def fails_again(self) -> bool:
        """Whether the run has failed in a way that another attempt would repeat, such as by NaN."""
        return os.path.exists(self.failure_file) and not read_json(self.failure_file, self.path).get("goes_on")

    @property
    def reason(self) -> str:
        """Why the run failed. Raises InputError."""
        found = read_json(self.failure_file, self.path).get("reason")
        if not isinstance(found, str):
            raise InputError(f"{self.failure_file}: reason must be text, got {repr(found)[:100]}")
        return found

    @property
    def summary(self) -> dict[str, Any]:
        """What the finished run came to. Raises InputError."""
        return checked(self.summary_file, read_json(self.summary_file, self.path))

    @property
    def config(self) -> RunConfig:
        """The configuration, whoever wrote it: plain values, entries from the registries. Raises InputError."""
        config = read_config(self.config_file, self.path)
        try:
            return located(config, around(self.path))
        except InputError as error:
            raise InputError(f"{self.config_file} cannot be used: {error}") from error

    def warn_unfinished(self) -> None:
        """Warn that the run has not ended, and name the gradient step of its checkpoint."""
        if self.state != "finished":
            where = "an unknown gradient step" if self.step is None else f"gradient step {self.step}"
            warnings.warn(
                f"{self.path} is unfinished, it has no summary.json: its checkpoint is of {where}", stacklevel=3
            )

    def refuse_taken(self) -> None:
        """Refuse a folder that holds anything but what a killed process began to write. Raises Taken."""
        try:
            files = [] if not self.path.exists() else [self.path] if self.path.is_file() else self.path.iterdir()
            taken = [path.name for path in files if not re.fullmatch(rf"\.lock|\..*{PART}", path.name)]
        except (OSError, ValueError) as error:
            raise InputError(f"run_dir={self} cannot be used: {getattr(error, 'strerror', None) or error}") from error
        if taken:
            raise Taken(f"run_dir={self} already holds something; name a new folder")

    def resumable(self, config: RunConfig) -> bool:
        """Whether it holds an interrupted run of this configuration, or nothing (False). Raises Taken otherwise."""
        try:
            there = self.config_file.is_file()
        except (OSError, ValueError) as error:
            raise InputError(f"run_dir={self} cannot be used: {getattr(error, 'strerror', None) or error}") from error
        if not there:
            self.refuse_taken()
            return False
        if self.summary_file.exists():
            raise Taken(f"run_dir={self} already holds a finished run; name a new folder")
        try:
            refuse_unsafe(self.path)  # a resumed run would write through them
            other = config.difference(self.config)
        except InputError as error:
            raise Taken(f"run_dir={self} already holds something: {error}; name a new folder") from error
        if other:
            raise Taken(f"run_dir={self} already holds another run, with {other}; name a new folder")
        return True

    def hold(self) -> FileLock:
        """Make the folder and lock it for this process; the system frees the lock when the process dies.

        Raises Taken where another process holds it, InputError where it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(self.lock_file):
                regular(self.lock_file, self.path)
            lock = FileLock(self.lock_file, is_singleton=True)  # the process that holds it may take it again
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            raise Taken(f"run_dir={self}: another process is writing into it") from None
        except OSError as error:
            raise InputError(f"run folder {self} cannot be made: {error.strerror}") from error
        return lock

    def clear(self) -> None:
        """Remove everything but the lock."""
        for path in self.path.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path != self.lock_file:
                path.unlink()


def numbered(label: str) -> Iterator[Path]:
    """Folders where the user names none: `runs/<label>`, `runs/<label>-2`, ..."""
    return (Path("runs", label if number == 1 else f"{label}-{number}") for number in count(1))


def make_folder(given: str | None, label: str) -> Path:
    """Make the empty folder `given`, or the first free `runs/<label>`. Raises InputError when that fails."""
    for path in numbered(label) if given is None else [Path(given)]:
        try:
            RunFolder(path).refuse_taken()
            path.mkdir(parents=True, exist_ok=given is not None)
            return path
        except (Taken, FileExistsError):  # another process may have made it a moment ago
            if given is not None:
                raise
        except OSError as error:
            raise InputError(f"run folder {path} cannot be made: {error.strerror}") from error
    raise AssertionError("numbers do not end")


@contextmanager
def claim(config: RunConfig) -> Iterator[tuple[RunFolder, bool]]:
    """Folder of a run, locked while the block lasts, and whether it holds an interrupted run to resume.

    It is `run_dir`, or the first of `runs/<name>`, `runs/<name>-2`, ... that is free or its own. Raises InputError.
    """
    given = config.run_dir
    for path in numbered(config.name) if given is None else [Path(given)]:
        folder, lock = RunFolder(path), None
        try:
            folder.resumable(config)  # before anything is written into a folder of somebody else
            lock = folder.hold()
            resumes = folder.resumable(config)  # now that no other process can change it
        except Taken:
            if lock is not None:
                lock.release()
            if given is not None:
                raise
            continue
        try:
            yield folder, resumes
        finally:
            lock.release()
            if folder.summary_file.exists():
                folder.lock_file.unlink(missing_ok=True)
        return
