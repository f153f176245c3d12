"""Measure, write the tables, and put them into docs/results/speed.md; or `profile CELL`, or `page`."""

import argparse
import sys
import time
from importlib import import_module
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import guard, page, parts, tables
from benchmarks.machine import describe
from benchmarks.options import Settings
from ramac.cli import fail
from ramac.errors import InputError, nearest
from ramac.system.runtime import device_of, keep_memory

RESULTS = Path(__file__).parent / "results"
PARTS = (
    "recipes", "cells", "acting", "dataset", "startup", "end_to_end",
    "precision", "captured", "peers", "parts", "scale",
)  # fmt: skip
SHORT = ("recipes",)


def arguments(given: list[str]) -> argparse.Namespace:
    """The command line. A wrong one ends with one line and exit status 2."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.error = lambda message: fail(message)  # type: ignore[method-assign]  one line, without the usage
    parser.add_argument(
        "words", nargs="*", metavar="profile CELL | page", help="where the time of an update goes; tables"
    )
    parser.add_argument("--short", action="store_true", help="a minute: the recipes, held against the recorded ratios")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="of the csv files; with --short runs/benchmark")
    parser.add_argument("--only", nargs="+", metavar="PART", default=[], help=", ".join(PARTS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(given)
    for part in options.only:
        if part not in PARTS:
            raise InputError(f"no part {part!r}; choose from {', '.join(PARTS)}{nearest(part, PARTS)}")
    if options.threads < 1:
        raise InputError(f"threads must be a whole number from 1, got {options.threads}")
    known = options.words in ([], ["page"]) or (options.words[0] == "profile" and len(options.words) == 2)
    if not known:
        raise InputError(f"{' '.join(options.words)!r} is nothing to do; choose profile CELL, page, or leave it out")
    return options


def show_profile(cell: str, settings: Settings) -> None:
    """Print where the time of an update goes. Raises InputError for a cell that does not exist."""
    for name, rows in parts.tables_of(cell, settings).items():
        table = Table(title=f"{cell}: {name}", title_justify="left")
        for column in rows[0]:
            table.add_column(column)
        for row in rows:
            table.add_row(*(str(tables.short(value)) for value in row.values()))
        Console().print(table)


def measure(settings: Settings, only: list[str]) -> int:
    """Measure and write what was asked for; status 1 when a ratio is below half of the recorded one."""
    recorded = tables.read(RESULTS / "recipes.csv") if (RESULTS / "recipes.csv").exists() else []
    status = 0
    for part in only or (SHORT if settings.short else PARTS):
        started = time.perf_counter()
        for name, rows in import_module(f"benchmarks.{part}").measure(settings).items():
            tables.write(settings.out / f"{name}.csv", [row | describe(settings.device) | row for row in rows])
            for line in guard.fallen(rows, recorded) if settings.short and name == "recipes" else ():
                print(line, file=sys.stderr)
                status = 1
        print(f"{part}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return status


def main(given: list[str]) -> int:
    """Do what the command line says; returns the exit status."""
    try:
        options = arguments(given)
        out = options.out or (Path("runs/benchmark") if options.short else RESULTS)
        settings = Settings(device_of(options.device), options.short, out, options.threads)
        torch.set_num_threads(settings.threads)
        keep_memory()  # as in a run of ramac; the plain implementation gains from it too
        status = 0
        if options.words[:1] == ["profile"]:
            show_profile(options.words[1], settings)
            return status
        if not options.words:
            status = measure(settings, options.only)
    except InputError as error:
        fail(str(error))
    if out == RESULTS:
        page.update(RESULTS)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
