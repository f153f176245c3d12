"""How a sweep stands: what is finished, running, failed and waiting, and how long the rest will take."""

import math
import os
import re
import statistics
import time
from dataclasses import dataclass

from ramac.errors import InputError
from ramac.experiment.folder import RunFolder
from ramac.experiment.grid.folder import Cell, GridFolder
from ramac.system.untrusted import opened, read_yaml

SHOWN = {"empty": "waiting"}  # states of a run folder under the names of a sweep
# interrupted: begun, and no process trains it; damaged: its files cannot be read
STATES = ("done", "running", "failed", "damaged", "interrupted", "waiting")
TO_COME = ("running", "interrupted", "waiting")  # of these, the runs that are not over
TAIL = 4096  # bytes at the end of a table that hold its last row
MOST = 2**20  # bytes of environment.txt that are read


@dataclass(frozen=True)
class Row:
    """One run of a sweep and how it stands."""

    cell: Cell
    state: str
    reason: str = ""  # of a failure or a damage
    progress: float = 0.0  # fraction of the gradient steps of a running one
    seconds: float | None = None  # wall time of a finished one
    left: float | None = None  # expected seconds until the last gradient step of a running one

    @classmethod
    def of(cls, grid: GridFolder, cell: Cell) -> "Row":
        """How a run stands now."""
        if cell.refused is not None:
            return cls(cell, "failed", cell.refused)
        try:
            folder = grid.run(cell)
            state = folder.state
            if state == "finished":
                return cls.finished(cell, folder)
            if state == "failed":
                return cls(cell, state, folder.reason)
            if state == "interrupted":
                read_yaml(folder.config_file, folder.path)
        except InputError as error:
            return cls(cell, "damaged", str(error))
        if state == "running":
            return cls.running(cell, folder)
        return cls(cell, SHOWN.get(state, state))

    @classmethod
    def running(cls, cell: Cell, folder: RunFolder) -> "Row":
        """A running run, by its last logged gradient step; the time left by the pace of its present process."""
        try:
            steps = int(folder.config.trainer["steps"])
            step, logged = last_logged(folder)
        except ValueError:  # no row yet, or InputError
            return cls(cell, "running")
        return cls(cell, "running", progress=min(1.0, step / steps), left=time_left(folder, step, logged, steps))

    @classmethod
    def finished(cls, cell: Cell, folder: RunFolder) -> "Row":
        """A finished run; it has failed where its evaluation has no result. Raises InputError."""
        summary = folder.summary
        if "failure" in summary:
            return cls(cell, "failed", summary["failure"]["reason"])
        return cls(cell, "done", seconds=summary.get("wall_seconds"))


def last_logged(folder: RunFolder) -> tuple[int, float]:
    """The last gradient step in metrics.csv, and when it was written. Raises ValueError before the first row."""
    with opened(folder.metrics_file, folder.path) as file:
        found = os.fstat(file.fileno())
        file.seek(max(0, found.st_size - TAIL))
        *_, last = file.read(TAIL).splitlines()
    return int(last.partition(b",")[0]), found.st_mtime


def time_left(folder: RunFolder, step: int, logged: float, steps: int) -> float | None:
    """Expected seconds until the last of the gradient steps, at the pace of the process that logged one at `logged`.

    Each process adds to environment.txt when it begins. None where that is not known.
    """
    try:
        with opened(folder.environment_file, folder.path, MOST) as file:
            began = os.fstat(file.fileno()).st_mtime
            resumed = re.findall(rb"^resumed after gradient step (\d+)$", file.read(MOST), re.MULTILINE)
    except InputError:
        return None
    done, seconds = step - int(resumed[-1] if resumed else 0), logged - began
    if done <= 0 or seconds <= 0:
        return None
    return max(0.0, seconds / done * (steps - step) - max(0.0, time.time() - logged))


def status(grid: GridFolder) -> list[Row]:
    """A row per run. Raises InputError when the folder is no sweep's."""
    return [Row.of(grid, cell) for cell in grid.cells]


def remaining(rows: list[Row]) -> float | None:
    """Seconds until the last run ends, by the median of the finished ones, and before there is one by the running ones.

    None where no run has shown its pace yet.
    """
    running = [row for row in rows if row.state == "running"]
    times = [row.seconds for row in rows if row.seconds is not None and math.isfinite(row.seconds)]
    times = times or [row.left / (1 - row.progress) for row in running if row.left and row.progress < 1]
    if not times:
        return None
    left = sum(1 - row.progress for row in running) + sum(row.state in ("waiting", "interrupted") for row in rows)
    return statistics.median(times) * left / max(1, len(running))
