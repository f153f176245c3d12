"""Trials of the whole program: `python -m trials [kills|repeats|load|inputs] [COUNT]`; without arguments all four.

`kills`: SIGKILL at COUNT random moments (50), each followed by resuming to the end. `repeats`: every recipe twice.
`load`: COUNT updates (100000) on the bandit, with memory and speed in ten parts, written to docs/load.csv.
`inputs`: bad input at random, COUNT cases of each kind drawn anew; without COUNT the fixed cases of the tests.
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch

from ramac.experiment.presets import presets
from trials import robustness, survival

LOAD = ("trainer.batch_size=64", "evaluation.every=10000", "threads=1")  # a quarter of an hour for 100 000 updates
TABLE = Path(__file__).parents[1] / "docs/load.csv"


def kills(count: int = 50) -> None:
    """Kill, resume, compare."""
    found = survival.kills(count, None)
    stages = ", ".join(f"{number} {stage}" for stage, number in sorted(found.items()))
    print(f"{sum(found.values())} kills ({stages}): all ended with the numbers of a run that was left alone")


def repeats(count: int = 2) -> None:
    """Train the same cell twice, with one thread and with two."""
    small = ("trainer.steps=200", "log_every=10", "evaluation.episodes=20", "evaluation.every=100")
    threads = [f"threads={number}" for number in range(1, count + 1)]
    cells = [(f"recipe={name}", number, *small) for name in presets("recipe") for number in threads]
    print(f"{survival.repeated(cells)} cells trained twice: the same tables and weights, byte for byte")


def load(count: int = 100_000) -> None:
    """A long run."""
    with tempfile.TemporaryDirectory() as name:
        rows = survival.load((*LOAD, f"trainer.steps={count}"), Path(name))
    parts = survival.growth(rows)
    survival.write(parts, TABLE)
    first, last = parts[1], parts[-1]  # the first tenth is the warm-up
    more = 100 * (last["megabytes"] / first["megabytes"] - 1)
    slower = last["updates_per_second"] / first["updates_per_second"]
    speed = f"{first['updates_per_second']:.1f} updates a second there, {slower:.2f} times that at the end"
    print(f"{count} updates: {first['megabytes']:.0f} MB in the second tenth, {more:+.2f} % at the end; {speed}")


def inputs(count: int | None = None) -> None:
    """Try random input; an AssertionError names the first case that is wrong."""
    total: Counter = Counter()
    for name in robustness.PROPERTIES:
        found = robustness.trial(name, count)
        print(f"{name}: {', '.join(f'{number} {kind}' for kind, number in sorted(found.items()))}")
        total += found
    counts = f"{total['ran']} ran, {total['failed']} failed, {total['refused']} refused, 0 tracebacks"
    print(f"{sum(total.values())} cases tried: {counts}")


COMMANDS = {"kills": kills, "repeats": repeats, "load": load, "inputs": inputs}


def main() -> None:
    """Do what the command line says."""
    torch.set_num_threads(1)
    name, *count = sys.argv[1:] or ("",)
    for command in [COMMANDS[name]] if name else COMMANDS.values():
        command(*map(int, count))


if __name__ == "__main__":
    main()
