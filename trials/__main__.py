"""Trials of the whole program: `python -m trials [kills|repeats|load|inputs] [COUNT]`; without arguments all four.

`kills`: SIGKILL at COUNT random moments (50); each run is then resumed and compared. `repeats`: every recipe twice.
`load`: COUNT gradient steps (100000) on the bandit; memory and speed in ten parts go to docs/load.csv.
`inputs`: random bad input, COUNT new cases of each property; without COUNT the cases of the tests.
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch

from ramac.experiment.presets import presets
from trials import robustness, survival

LOAD = ("trainer.batch_size=64", "evaluation.every=10000", "threads=1")  # 100 000 updates take 15 minutes
TABLE = Path(__file__).parents[1] / "docs/load.csv"


def kills(count: int = 50) -> None:
    """Kill runs, resume them, and compare them with an undisturbed run."""
    found = survival.kills(count, None)
    stages = ", ".join(f"{number} {stage}" for stage, number in sorted(found.items()))
    print(f"{sum(found.values())} kills ({stages}): all resumed runs equal an undisturbed run, byte for byte")


def repeats(count: int = 2) -> None:
    """Train every recipe twice, with one thread, with two, up to `count`."""
    small = ("trainer.steps=200", "log_every=10", "evaluation.episodes=20", "evaluation.every=100")
    threads = [f"threads={number}" for number in range(1, count + 1)]
    cells = [(f"recipe={name}", number, *small) for name in presets("recipe") for number in threads]
    print(f"{survival.repeated(cells)} cells trained twice: the same tables and weights, byte for byte")


def load(count: int = 100_000) -> None:
    """Train for long, and compare memory and speed of the second tenth with those of the last."""
    with tempfile.TemporaryDirectory() as name:
        rows = survival.load((*LOAD, f"trainer.steps={count}"), Path(name))
    parts = survival.growth(rows)
    survival.write(parts, TABLE)
    first, last = parts[1], parts[-1]  # the first tenth is warm-up
    more = 100 * (last["megabytes"] / first["megabytes"] - 1)
    slower = last["updates_per_second"] / first["updates_per_second"]
    speed = f"{first['updates_per_second']:.1f} updates a second there, {slower:.2f} times that at the end"
    print(f"{count} updates: {first['megabytes']:.0f} MB in the second tenth, {more:+.2f} % at the end; {speed}")


def inputs(count: int | None = None) -> None:
    """Try random input. An AssertionError names the first wrong case."""
    total = Counter[str]()
    for name in robustness.PROPERTIES:
        if count is None:
            cases = robustness.CASES // len(robustness.SEEDS)
            found = sum((robustness.trial(name, cases, seed) for seed in robustness.SEEDS), Counter[str]())
        else:
            found = robustness.trial(name, count)
        print(f"{name}: {', '.join(f'{number} {kind}' for kind, number in sorted(found.items()))}")
        total += found
    counts = f"{total['ran']} ran, {total['failed']} failed, {total['refused']} refused, 0 tracebacks"
    print(f"{sum(total.values())} cases tried: {counts}")


COMMANDS = {"kills": kills, "repeats": repeats, "load": load, "inputs": inputs}


def main() -> None:
    """Run the trial that the command line names, or all."""
    torch.set_num_threads(1)
    name, *count = sys.argv[1:] or ("",)
    for command in [COMMANDS[name]] if name else COMMANDS.values():
        command(*map(int, count))


if __name__ == "__main__":
    main()
