"""ramac grid status DIR [--watch[=SECONDS]]: runs of a sweep that are done, running, failed, waiting; the time left

--watch looks again every 5 SECONDS, in place, until no run is left to come; Ctrl-C ends it. It needs a terminal.
"""

import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ramac.cli import show_table, table_of
from ramac.cli._results import show_next
from ramac.errors import InputError, RunStopped, nearest
from ramac.experiment.folder import RunFolder
from ramac.experiment.grid.folder import Cell, GridFolder
from ramac.experiment.grid.search import plan_search
from ramac.experiment.grid.status import STATES, TO_COME, Row, remaining, status
from ramac.experiment.grid.sweep import launch, plan
from ramac.experiment.next_commands import after_sweep
from ramac.experiment.objective import value as number_at
from ramac.system.workers import QUIET
from ramac.text import console, for_terminal, say

WATCH, PAUSE, SHORTEST, LONGEST = "--watch", 5, 0.5, 3600  # seconds between two looks
FOLDERS: list[Path] = []  # of the sweeps of this process: Hydra hands nothing back to who started them


def main(arguments: list[str]) -> int:
    """Print how a sweep stands. Raises InputError."""
    name, *rest = arguments or [""]
    if name != "status":
        raise InputError(f"no command 'grid {name}'; there is status{nearest(name, ['status'])}")
    pauses = [pause_of(word) for word in rest if word.startswith("-")]
    folders = [word for word in rest if not word.startswith("-")]
    if len(folders) != 1:
        raise InputError(f"grid status needs one folder, got {len(folders)}")
    grid = GridFolder(Path(folders[0]))
    if pauses:
        watch(grid, pauses[-1])
    else:
        show(grid)
    return 0


def pause_of(word: str) -> float:
    """Seconds between two looks, of `--watch` or `--watch=SECONDS`. Raises InputError."""
    name, equals, text = word.partition("=")
    if name != WATCH:
        raise InputError(f"grid status has no option {name!r}; there is {WATCH}{nearest(name, [WATCH])}")
    with suppress(ValueError):
        if SHORTEST <= (seconds := float(text if equals else PAUSE)) <= LONGEST:
            return seconds
    raise InputError(f"{WATCH} takes a number of seconds from {SHORTEST} to {LONGEST}, got {text!r}")


def watch(grid: GridFolder, pause: float) -> None:
    """Print how a sweep stands, in place, until no run is left to come. Raises InputError."""
    from rich.live import Live

    screen = console()
    if not screen.is_terminal or screen.is_dumb_terminal:
        raise InputError(f"{WATCH} needs a terminal; without it ramac grid status prints how the sweep stands")
    rows = status(grid)  # what is no sweep is refused before the screen is used
    with Live(view(grid, rows), console=screen, auto_refresh=False) as live:
        while any(row.state in TO_COME for row in rows):
            time.sleep(pause)
            rows = status(grid)
            live.update(view(grid, rows), refresh=True)


def view(grid: GridFolder, rows: list[Row]) -> Any:
    """How a sweep stands, for a console of rich."""
    from rich.console import Group  # noqa: TID251
    from rich.text import Text

    return Group(table_of(*counted(grid, rows)), *(Text(for_terminal(line, sys.stdout)) for line in details(rows)))


def sweep(sweeper: Any, arguments: list[str]) -> None:
    """Run what is missing of a sweep and print how it stands. Raises InputError, SystemExit(1) when a run failed."""
    planned = plan(sweeper, arguments)
    FOLDERS.append(planned.grid.path)
    counts = f"{len(planned.cells)} runs, {len(planned.missing)} to run"
    say(f"sweep: {counts}, in {planned.grid.path}")
    died = launch(sweeper.launcher, sweeper.config, planned)
    failed = [row for row in show(planned.grid) if row.state in ("failed", "interrupted", "damaged")]
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
    best = None if planned.best is None else planned.grid.run(planned.best[1]).path
    show(planned.grid, best)
    if planned.best is None:
        say("no trial has a result")
        raise SystemExit(1)
    value, cell = planned.best
    say(f"best: {value:.6g} by {' '.join(planned.searched(cell.overrides))}", f"  {planned.grid.run(cell)}")


def show(grid: GridFolder, best: Path | None = None) -> list[Row]:
    """Print how a sweep stands and what to run next, unless it is quiet. Raises InputError for another folder.

    `best`: the best run of a search.
    """
    rows = status(grid)
    if QUIET in os.environ:
        return rows
    show_table(*counted(grid, rows))
    say(*details(rows))
    if done := [row.cell for row in rows if row.state == "done"]:
        over = not any(row.state in TO_COME for row in rows)
        best = best or (best_of(grid, done) if over else None)
        config = None if best is None else RunFolder(best).config
        show_next(after_sweep(grid.path, [cell.overrides for cell in done], best, config, find_spec))
    return rows


def counted(grid: GridFolder, rows: list[Row]) -> tuple[str, list[str], list[list[str]]]:
    """Title, columns and the one row of a table of states."""
    counts = {state: sum(row.state == state for row in rows) for state in STATES}
    shown = {state: str(count) for state, count in counts.items() if count or state != "damaged"}  # it is rare
    return str(grid.path), list(shown), [list(shown.values())]


def details(rows: list[Row]) -> Iterator[str]:
    """A line or two on each failed and each running run, and the time left."""
    for row in sorted(rows, key=lambda row: row.state):  # the failed ones before the running ones
        if row.state in ("failed", "damaged"):
            yield f"{row.state}: {' '.join(row.cell.overrides)}"
            yield f"  {row.reason}"
        elif row.state == "running":
            left = "" if row.left is None else f", about {in_words(row.left)} left"
            yield f"running: {row.cell.name}, {row.progress:.0%} of its gradient steps{left}"
    if any(row.state in TO_COME for row in rows):
        seconds = remaining(rows)
        text = "unknown before a run has logged its pace" if seconds is None else f"about {in_words(seconds)}"
        yield f"expected remaining time: {text}"


def best_of(grid: GridFolder, done: list[Cell]) -> Path | None:
    """The finished run of highest mean return, or estimate; None for several tasks and where none has one."""
    runs = [grid.run(cell) for cell in done]
    if len({run.summary["task"] for run in runs}) > 1:  # their rewards have units of their own
        return None
    path = runs[0].config.path_of_objective
    numbers = {run.path: number_at(run.summary, path) for run in runs}
    known = [run for run, number in numbers.items() if not math.isnan(number)]
    return max(known, key=lambda run: numbers[run], default=None)


def in_words(seconds: float) -> str:
    """`40 s`, `12 min`, `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
