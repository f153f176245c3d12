"""Killed, repeated and long runs: whether their results are bit-identical, and what they cost."""

import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import ramac
from trials import processes

# every kind of state: random numbers in actor and critic, a Lagrange multiplier, a delay, schedules, target networks
CELL = ("actor=flow2", "critic=iqn", "loss=[td,bc,risk]", "loss.bc.budget=0.5", "loss.risk.warmup=5", "trainer.delay=2")
SMALL = ("actor.hidden=[16]", "critic.hidden=[16]", "critic.head=16", "trainer.batch_size=32", "task.transitions=500")
KILLED = (*CELL, *SMALL, "trainer.steps=40", "log_every=4", "save_every=3", "evaluation.every=10",
          "evaluation.episodes=8")  # fmt: skip
ENDED = {"config.yaml", "metrics.csv", "episodes.csv", "summary.json", "checkpoint", "checkpoints", "environment.txt",
         "bandit.png"}  # fmt: skip


def work(folder: Path, overrides: tuple[str, ...], again: bool) -> None:
    """What a process does: train `run` in a folder, or resume it by the other command."""
    from ramac.cli.resume import main

    os.chdir(folder)
    if again:
        main(["run"])
    else:
        ramac.train(*overrides, "run_dir=run")


def start(folder: Path, overrides: tuple[str, ...], again: bool = False) -> Any:
    """Start a process that trains."""
    log = str(folder / "log.txt")
    return processes.start(work, folder, overrides, again, output=(log, log))


def numbers(run: Path) -> dict[str, bytes]:
    """Tables and weights of a run, which must be equal in two runs of the same configuration, byte for byte."""
    names = ("metrics.csv", "episodes.csv", "agent.safetensors", "agent.json")
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("*")) if path.name in names}


def differing(run: Path, expected: dict[str, bytes]) -> list[str]:
    """Names of the files that are not those of `numbers`, byte for byte."""
    found = numbers(run)
    return sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))


def stage(run: Path) -> str:
    """The stage that a run has reached, judged by its files."""
    if (run / "summary.json").exists():
        return "after its end"
    if not (run / "config.yaml").exists():
        return "before the folder was ready"
    if not list(run.glob("states/[0-9]*")):
        return "before the first state"
    if list(run.rglob("*.part")):
        return "while a file was written"
    return "after a state"


def kills(count: int, seed: int | None = 0) -> Counter[str]:
    """Kill `count` runs at random moments and resume them; each must equal an undisturbed run.

    Returns the number of kills at each stage. Raises AssertionError.
    """
    draw, found = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        alone = Path(name, "alone")
        alone.mkdir()
        start(alone, KILLED).join()  # the first one also waits for the imports of the server
        expected = numbers(alone / "run")
        assert len(expected) == 2 + 2 * 2, f"{sorted(expected)}: {(alone / 'log.txt').read_text()}"
        (alone / "again").mkdir()
        began = time.perf_counter()
        start(alone / "again", KILLED).join()
        usual = time.perf_counter() - began
        while sum(found.values()) < count:
            folder = Path(tempfile.mkdtemp(dir=name))
            process = start(folder, KILLED)
            process.join(draw.uniform(0, usual) * draw.choice((0.3, 1)))  # many kills before the first state
            process.kill()
            process.join()
            if process.exitcode != -signal.SIGKILL:
                continue  # it had ended before
            reached, run = stage(folder / "run"), folder / "run"
            if not (run / "summary.json").exists():
                process = start(folder, KILLED, again=(run / "config.yaml").exists() and draw.random() < 0.5)
                process.join()
            output = (folder / "log.txt").read_text()
            assert (run / "summary.json").exists(), f"killed {reached}: {output}"
            assert not (other := differing(run, expected)), f"killed {reached}: {other} differ; {output}"
            # a run that is killed after its summary may leave unused states
            assert {path.name for path in run.iterdir()} - {"states", ".lock"} == ENDED, sorted(run.iterdir())
            found[reached] += 1
    return found


def repeated(cells: list[tuple[str, ...]]) -> int:
    """Train each cell twice, each time in a new process; returns the number of cells. Raises AssertionError."""
    with tempfile.TemporaryDirectory() as name:
        for index, cell in enumerate(cells):
            pair = [Path(name, f"{index}-{turn}") for turn in "ab"]
            for folder in pair:
                folder.mkdir()
                process = start(folder, cell)
                process.join()
                assert process.exitcode == 0, (cell, (folder / "log.txt").read_text())
            first = numbers(pair[0] / "run")
            assert len(first) >= 4, sorted(first)
            assert not (other := differing(pair[1] / "run", first)), (cell, other)
    return len(cells)


def load(overrides: tuple[str, ...], folder: Path, pause: float = 5.0) -> list[dict[str, float]]:
    """Rows of CPU seconds, finished updates and resident megabytes of a run, one per `pause` seconds."""
    command = [sys.executable, "-c", "import ramac; ramac.main()", *overrides, f"run_dir={folder}/run"]
    rows, page, tick = [], os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        while process.poll() is None:
            time.sleep(pause)
            try:
                resident = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * page / 2**20
                used = sum(map(int, Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
                last = (folder / "run/metrics.csv").read_text().splitlines()[-1].partition(",")[0]
            except (OSError, IndexError):
                continue
            if last.isdecimal():
                rows.append({"seconds": used / tick, "updates": int(last), "megabytes": resident})
    assert process.returncode == 0, (folder / "log.txt").read_text()[-2000:]
    return rows


def growth(rows: list[dict[str, float]], parts: int = 10) -> list[dict[str, float]]:
    """Median memory and updates per CPU second, in `parts` equal shares of the updates."""
    updates, most = np.array([row["updates"] for row in rows]), rows[-1]["updates"]
    found = []
    for part in range(parts):
        inside = (updates > part * most / parts) & (updates <= (part + 1) * most / parts)
        chosen = [row for row, use in zip(rows, inside, strict=True) if use]
        if len(chosen) > 1:
            took, made = (chosen[-1][key] - chosen[0][key] for key in ("seconds", "updates"))
            memory = float(np.median([row["megabytes"] for row in chosen]))
            found.append({"updates": (part + 1) * most / parts, "megabytes": memory, "updates_per_second": made / took})
    return found


def write(rows: list[dict[str, float]], path: Path) -> None:
    """Write rows as a csv file, with four significant digits."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({key: f"{value:.4g}" for key, value in row.items()} for row in rows)
