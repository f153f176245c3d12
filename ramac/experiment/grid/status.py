"""`ramac grid status DIR`: what is done, running, failed and waiting, and how long the rest will take."""

import statistics
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ramac.errors import InputError, nearest
from ramac.experiment.grid.cell import reason
from ramac.experiment.grid.folder import cells, claimed, journal

USAGE = "ramac grid status DIR   cells done, running, failed and waiting, with reasons and the expected remaining time"

STATES = ("done", "running", "failed", "interrupted", "waiting")  # interrupted: begun, and nobody is at it


def state(folder: Path) -> str:
    """One of STATES."""
    if (folder / "summary.json").exists():
        return "done"
    if (folder.parent / ".locks" / f"{folder.name}.lock").exists():
        with claimed(folder) as mine:
            if not mine:
                return "running"
    if (folder / "failed.json").exists():
        return "failed"
    return "interrupted" if folder.exists() else "waiting"


def progress(folder: Path) -> float:
    """Share of a running cell's updates that are behind it."""
    try:
        from omegaconf import OmegaConf

        *_, last = (folder / "metrics.csv").read_text().splitlines()
        config: Any = OmegaConf.load(folder / "config.yaml")
        return min(1.0, int(last.partition(",")[0]) / int(config.trainer.steps))
    except (OSError, ValueError, AttributeError):
        return 0.0


def remaining(grid: Path, states: dict[str, str]) -> float | None:
    """Seconds until the last cell ends, by the median of the finished ones; None before the first has finished."""
    times = {row["cell"]: float(row["seconds"]) for row in journal(grid) if row["event"] == "done"}
    if not times:
        return None
    usual = statistics.median(times.values())
    running = [cell for cell, value in states.items() if value == "running"]
    left = sum(usual * (1 - progress(grid / cell)) for cell in running)
    left += usual * sum(value in ("waiting", "interrupted") for value in states.values())
    return left / max(1, len(running))


def show(grid: Path) -> int:
    """Print how a grid stands; returns how many cells failed. Raises InputError when the folder is no grid."""
    records = cells(grid)
    states = {record["cell"]: state(grid / record["cell"]) for record in records if record["cell"]}
    refused = [record for record in records if not record["cell"]]
    failed = [record for record in records if record["cell"] and states[record["cell"]] == "failed"]
    table = Table(title=escape(str(grid)), title_justify="left")
    counts = {name: list(states.values()).count(name) for name in STATES}
    counts["failed"] += len(refused)
    for name in counts:
        table.add_column(name, justify="right")
    table.add_row(*map(str, counts.values()))
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    for record in [*failed, *refused]:
        why = record.get("refused") or reason(grid / record["cell"])
        console.print(
            f"failed: {escape(' '.join(record['overrides']))}\n  {escape(str(why))}", highlight=False, soft_wrap=True
        )
    for cell, value in states.items():
        if value == "running":
            console.print(
                f"running: {escape(cell)}, {progress(grid / cell):.0%} of its updates", highlight=False, soft_wrap=True
            )
    if counts["running"] or counts["waiting"] or counts["interrupted"]:
        seconds = remaining(grid, states)
        text = "unknown before the first cell has finished" if seconds is None else f"about {in_words(seconds)}"
        console.print(f"expected remaining time: {text}")
    if counts["done"]:
        console.print(f"  ramac report {escape(str(grid))}")
    return counts["failed"]


def in_words(seconds: float) -> str:
    """`40 s`, `12 min`, `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def command(arguments: list[str]) -> int:
    """Run `ramac grid ARGUMENTS`; returns the exit status. Raises InputError."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0
    name, *rest = arguments
    if name != "status":
        raise InputError(f"no command 'grid {name}'; there is status{nearest(name, ['status'])}")
    if len(rest) != 1:
        raise InputError(f"grid status needs one folder, got {len(rest)}")
    show(Path(rest[0]))
    return 0
