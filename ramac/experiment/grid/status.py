"""How a sweep stands: what is finished, running, failed and waiting, and how long the rest will take."""

import math
import os
import statistics
from dataclasses import dataclass

from ramac.errors import InputError
from ramac.experiment.folder import RunFolder
from ramac.experiment.grid.folder import Cell, GridFolder
from ramac.system.untrusted import opened, read_yaml

SHOWN = {"empty": "waiting"}  # states of a run folder under the names of a sweep
# interrupted: begun, and no process trains it; damaged: its files cannot be read
STATES = ("done", "running", "failed", "damaged", "interrupted", "waiting")
TAIL = 4096  # bytes at the end of a table that hold its last row


@dataclass(frozen=True)
class Row:
    """One run of a sweep and how it stands."""

    cell: Cell
    state: str
    reason: str = ""  # of a failure or a damage
    progress: float = 0.0  # fraction of the gradient steps of a running one
    seconds: float | None = None  # wall time of a finished one

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
        return cls(cell, SHOWN.get(state, state), progress=progress(folder) if state == "running" else 0.0)

    @classmethod
    def finished(cls, cell: Cell, folder: RunFolder) -> "Row":
        """A finished run; it has failed where its evaluation has no result. Raises InputError."""
        summary = folder.summary
        if failure := summary.get("failure"):
            return cls(cell, "failed", str(failure.get("reason", "its evaluation has no result")))
        return cls(cell, "done", seconds=summary.get("wall_seconds"))


def progress(folder: RunFolder) -> float:
    """Fraction of a running run's gradient steps that are done."""
    try:
        with opened(folder.metrics_file, folder.path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            *_, last = file.read(TAIL).splitlines()
        return min(1.0, int(last.partition(b",")[0]) / int(folder.config.trainer["steps"]))
    except ValueError:  # no row yet, or InputError
        return 0.0


def status(grid: GridFolder) -> list[Row]:
    """A row per run. Raises InputError when the folder is no sweep's."""
    return [Row.of(grid, cell) for cell in grid.cells]


def remaining(rows: list[Row]) -> float | None:
    """Seconds until the last run ends, by the median of the finished ones; None before the first has finished."""
    times = [row.seconds for row in rows if row.seconds is not None and math.isfinite(row.seconds)]
    if not times:
        return None
    running = [row.progress for row in rows if row.state == "running"]
    left = sum(1 - done for done in running) + sum(row.state in ("waiting", "interrupted") for row in rows)
    return statistics.median(times) * left / max(1, len(running))
