"""How a sweep stands: what is finished, running, failed and waiting, and how long the rest will take."""

import statistics
from dataclasses import dataclass
from typing import Any

from ramac.errors import InputError
from ramac.experiment.folder import RunFolder
from ramac.experiment.grid.folder import Cell, GridFolder
from ramac.system.untrusted import read_json

SHOWN = {"finished": "done", "empty": "waiting"}  # states of a run folder under the names of a sweep
STATES = ("done", "running", "failed", "interrupted", "waiting")  # interrupted: begun, and no process trains it


def reason_of(folder: RunFolder) -> str:
    """Why a run failed."""
    try:
        return str(read_json(folder.failure_file, folder.path)["reason"])
    except (InputError, KeyError) as error:
        return f"failed.json cannot be read: {error}"


@dataclass(frozen=True)
class Row:
    """One run of a sweep and how it stands."""

    cell: Cell
    state: str
    reason: str = ""  # of a failure
    progress: float = 0.0  # fraction of the gradient steps of a running one
    seconds: float | None = None  # wall time of a finished one

    @classmethod
    def of(cls, grid: GridFolder, cell: Cell) -> "Row":
        """How a run stands now."""
        if cell.refused is not None:
            return cls(cell, "failed", cell.refused)
        folder = grid.run(cell)
        state = SHOWN.get(folder.state, folder.state)
        if state == "failed":
            return cls(cell, state, reason_of(folder))
        if state == "done" and (reason := failure(folder)):
            return cls(cell, "failed", reason)
        return cls(cell, state, progress=progress(folder) if state == "running" else 0.0, seconds=seconds(folder))


def failure(folder: RunFolder) -> str:
    """Why the evaluation of a finished run has no result; empty where it has one."""
    try:
        found = folder.summary.get("failure")
    except InputError:
        return ""
    return str(found.get("reason", "its evaluation has no result")) if isinstance(found, dict) else ""


def seconds(folder: RunFolder) -> float | None:
    """Wall time of a finished run; None where there is none."""
    try:
        found: Any = folder.summary["wall_seconds"]
    except (InputError, KeyError):
        return None
    return float(found) if isinstance(found, int | float) else None


def progress(folder: RunFolder) -> float:
    """Fraction of a running run's gradient steps that are done."""
    try:
        *_, last = folder.metrics_file.read_text(encoding="utf-8").splitlines()
        return min(1.0, int(last.partition(",")[0]) / int(folder.config.trainer["steps"]))
    except (OSError, ValueError):
        return 0.0


def status(grid: GridFolder) -> list[Row]:
    """A row per run. Raises InputError when the folder is no sweep's."""
    return [Row.of(grid, cell) for cell in grid.cells]


def remaining(rows: list[Row]) -> float | None:
    """Seconds until the last run ends, by the median of the finished ones; None before the first has finished."""
    times = [row.seconds for row in rows if row.seconds is not None]
    if not times:
        return None
    running = [row.progress for row in rows if row.state == "running"]
    left = sum(1 - done for done in running) + sum(row.state in ("waiting", "interrupted") for row in rows)
    return statistics.median(times) * left / max(1, len(running))
