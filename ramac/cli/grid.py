"""ramac grid status DIR: runs of a sweep that are done, running, failed and waiting, and the expected remaining time"""

from pathlib import Path
from typing import Any

from ramac.cli import show_table
from ramac.errors import InputError, RunStopped, nearest
from ramac.experiment.grid.folder import GridFolder
from ramac.experiment.grid.search import plan_search
from ramac.experiment.grid.status import STATES, remaining, status
from ramac.experiment.grid.sweep import launch, plan
from ramac.text import say

FOLDERS: list[Path] = []  # of the sweeps of this process: Hydra hands nothing back to who started them


def main(arguments: list[str]) -> int:
    """Print how a sweep stands. Raises InputError."""
    name, *rest = arguments or [""]
    if name != "status":
        raise InputError(f"no command 'grid {name}'; there is status{nearest(name, ['status'])}")
    if len(rest) != 1:
        raise InputError(f"grid status needs one folder, got {len(rest)}")
    show(GridFolder(Path(rest[0])))
    return 0


def sweep(sweeper: Any, arguments: list[str]) -> None:
    """Run what is missing of a sweep and print how it stands. Raises InputError, SystemExit(1) when a run failed."""
    planned = plan(sweeper, arguments)
    FOLDERS.append(planned.grid.path)
    counts = f"{len(planned.cells)} runs, {len(planned.missing)} to run"
    say(f"sweep: {counts}, in {planned.grid.path}")
    died = launch(sweeper.launcher, sweeper.config, planned)
    failed = show(planned.grid)
    if died:
        say(f"the launcher stopped: {died}; the same command again runs what is missing")
    if died or failed:
        raise SystemExit(1)


def search(sweeper: Any, arguments: list[str]) -> None:
    """Run the trials of a search and print the best one. Raises InputError, SystemExit(1) without any result."""
    planned = plan_search(sweeper, arguments)
    FOLDERS.append(planned.grid.path)
    say(f"search: {sweeper.n_trials} trials, {planned.purpose}, in {planned.grid.path}")
    again = f"the same command continues the search in {planned.grid.path}"
    try:
        planned.run(arguments)
    except KeyboardInterrupt as error:
        said = str(error).partition("; the same command")[0] or "interrupted"
        error.args = (f"{said}; {again}",)
        raise
    except RunStopped as error:
        raise RunStopped(f"{error}; {again}") from error
    show(planned.grid)
    if planned.best is None:
        say("no trial has a result")
        raise SystemExit(1)
    value, cell = planned.best
    say(f"best: {value:.6g} by {' '.join(planned.searched(cell.overrides))}", f"  {planned.grid.run(cell)}")


def show(grid: GridFolder) -> int:
    """Print how a sweep stands; returns how many runs have failed or stopped. Raises InputError for another folder."""
    rows = status(grid)
    counts = {state: sum(row.state == state for row in rows) for state in STATES}
    show_table(str(grid.path), list(counts), [list(counts.values())])
    for row in sorted(rows, key=lambda row: row.state):  # the failed ones before the running ones
        if row.state in ("failed", "damaged"):
            say(f"{row.state}: {' '.join(row.cell.overrides)}", f"  {row.reason}")
        elif row.state == "running":
            say(f"running: {row.cell.name}, {row.progress:.0%} of its gradient steps")
    if counts["running"] or counts["waiting"] or counts["interrupted"]:
        seconds = remaining(rows)
        text = "unknown before the first run has finished" if seconds is None else f"about {in_words(seconds)}"
        say(f"expected remaining time: {text}")
    if counts["done"]:
        say(f"  ramac report {grid.path}")
    return counts["failed"] + counts["interrupted"] + counts["damaged"]


def in_words(seconds: float) -> str:
    """`40 s`, `12 min`, `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
