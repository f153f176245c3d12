"""`python -m benchmarks`: measure, write the tables, and put them into docs/speed.md."""

import argparse
import sys
from importlib import import_module
from pathlib import Path

import torch

from benchmarks import guard, tables
from benchmarks.machine import describe
from benchmarks.options import Settings
from ramac.run import device_of, keep_memory

RESULTS = Path(__file__).parent / "results"
PARTS = ("recipes", "cells", "acting", "dataset", "startup", "growth")
SHORT = ("recipes",)


def arguments(given: list[str]) -> argparse.Namespace:
    """The command line. A wrong one ends with one line and exit status 2."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a minute: the recipes, held against the recorded ratios")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="of the csv files; with --short runs/benchmark")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    return parser.parse_args(given)


def main(given: list[str]) -> int:
    """Measure what was asked for; status 1 when a ratio has fallen below half of the recorded one."""
    options = arguments(given)
    out = options.out or (Path("runs/benchmark") if options.short else RESULTS)
    settings = Settings(device_of(options.device), options.short, out, options.threads)
    torch.set_num_threads(settings.threads)
    keep_memory()  # for all alike, as in a run of ramac: the plain implementation gains from it too
    recorded = tables.read(RESULTS / "recipes.csv") if (RESULTS / "recipes.csv").exists() else []
    status = 0
    for part in options.only or (SHORT if settings.short else PARTS):
        print(f"measuring {part}", file=sys.stderr)
        for name, rows in import_module(f"benchmarks.{part}").measure(settings).items():
            tables.write(out / f"{name}.csv", [{**row, **describe(settings.device)} for row in rows])
            if settings.short and name == "recipes":
                for line in guard.fallen(rows, recorded):
                    print(line, file=sys.stderr)
                    status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
