"""Grids of runs: a folder of cells that can be interrupted, repeated and shared among processes and machines.

`<grid>/grid.json` says which cells there are, `<grid>/journal.csv` what happened to them; `<grid>/<cell>/` is a run.
"""

import csv
import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ramac.errors import InputError

JOURNAL: tuple[str, ...] = ("time", "cell", "event", "where", "process", "seconds")


@contextmanager
def claimed(folder: Path, patience: float = 0.0) -> Iterator[bool]:
    """Hold a cell while the block runs; False where another process holds it for longer than `patience` seconds.

    The system frees a cell whose process dies. Raises InputError where locks cannot be written: another user's grid.
    """
    locks = folder.parent / ".locks"
    try:
        locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(locks / f"{folder.name}.lock")
        lock.acquire(timeout=patience)
    except Timeout:
        yield False
        return
    except OSError as error:
        raise InputError(f"{locks} cannot be written ({error.strerror}), which shows who is at a cell") from error
    try:
        yield True
    finally:
        lock.release()


def where() -> str:
    """This machine, and on a Ray cluster the node: several may share a machine."""
    ray = sys.modules.get("ray")
    node = f"/{ray.get_runtime_context().get_node_id()[:8]}" if ray and ray.is_initialized() else ""
    return socket.gethostname() + node


def note(folder: Path, event: str, seconds: float = 0.0) -> None:
    """Append what happened to a cell to the grid's journal; short appended lines of several processes do not mix."""
    path = folder.parent / "journal.csv"
    row = (f"{time.time():.3f}", folder.name, event, where(), os.getpid(), f"{seconds:.1f}")
    line = ",".join(map(str, row)) + "\n"
    with path.open("a") as file:
        file.write(line if file.tell() else ",".join(JOURNAL) + "\n" + line)


def journal(grid: Path) -> list[dict[str, str]]:
    """The rows of a grid's journal; a line that a full disk or a kill has cut is left out, as is a second heading."""
    path = grid / "journal.csv"
    if not path.is_file():
        return []
    with path.open(errors="replace") as file:
        rows = [dict(zip(JOURNAL, row, strict=True)) for row in csv.reader(file) if len(row) == len(JOURNAL)]
    return [row for row in rows if re.fullmatch(r"[\d.]+", row["seconds"])]


def cells(grid: Path) -> list[dict[str, Any]]:
    """The cells that a grid folder knows. Raises InputError when it is no grid."""
    try:
        records = json.loads((grid / "grid.json").read_text())["cells"]
    except FileNotFoundError:
        raise InputError(f"{grid} is no grid: it has no grid.json; ramac -m ... makes one") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{grid}/grid.json cannot be read: {error}") from error
    if not isinstance(records, list):
        raise InputError(f"{grid}/grid.json is damaged: cells must be a list, got {records!r}"[:200])
    for record in records:
        if not is_record(record):
            raise InputError(f"{grid}/grid.json is damaged: no cell of a grid is {record!r}"[:200])
    return records


def is_record(value: Any) -> bool:
    """Whether this is a cell: its overrides, and the name of its folder or why it was refused."""
    if not isinstance(value, dict) or not isinstance(value.get("overrides"), list):
        return False
    name = value.get("cell")
    named = isinstance(value.get("refused"), str) if name is None else isinstance(name, str) and name == Path(name).name
    return named and name != "" and all(isinstance(override, str) for override in value["overrides"])
