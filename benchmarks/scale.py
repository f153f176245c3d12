"""Memory and time at scale: a file of wide observations, many seeds of one command, many cells of a grid."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from benchmarks.contenders import Row
from benchmarks.options import Settings

WIDTH, EPISODE, BLOCK = 100, 1000, 100_000
ROWS = int(os.environ.get("RAMAC_SCALE_ROWS", "1000000"))  # 10000000 for the table on the page: 4 GB, and 12 beside it
SMALL = ("actor=deterministic", "critic=mean", "risk=neutral", "loss=[td,bc]", "trainer.batch_size=16", "threads=1")
TINY = (*SMALL, "trainer.steps=3", "evaluation.episodes=2", "task=bandit", "task.transitions=200")


def write_file(path: Path, rows: int) -> None:
    """A file in D4RL's layout whose observations, of 100 numbers, lie near 8 dimensions."""
    random, ends = np.random.default_rng(0), np.arange(rows) % EPISODE == EPISODE - 1
    spread = random.normal(size=(8, WIDTH)).astype(np.float32)
    with h5py.File(path, "w") as file:
        observations = file.create_dataset("observations", (rows, WIDTH), np.float32)
        for first in range(0, rows, BLOCK):
            count = min(BLOCK, rows - first)
            noise = random.standard_normal((count, WIDTH), np.float32)
            observations[first : first + count] = random.standard_normal((count, 8), np.float32) @ spread + noise / 20
        file["actions"] = random.uniform(-1, 1, (rows, 8)).astype(np.float32)
        file["rewards"] = random.standard_normal(rows, np.float32)
        file["terminals"], file["timeouts"] = np.zeros(rows, bool), ends


def watched(words: Sequence[str], folder: str) -> Row:
    """Processor seconds of a command and its largest memory in MB: its own, and mapped pages of files."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "ramac", *words]
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    peak = {"RssAnon": 0, "RssFile": 0}
    before = os.times()
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            for line in Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines():
                key, _, value = line.partition(":")
                if key in peak:
                    peak[key] = max(peak[key], int(value.split()[0]) // 1000)
            time.sleep(0.02)
    now = os.times()
    spent = now.children_user + now.children_system - before.children_user - before.children_system
    return {"seconds": spent, "private_mb": peak["RssAnon"], "file_mb": peak["RssFile"], "status": process.returncode}


def measure(settings: Settings) -> dict[str, list[Row]]:
    """Table `scale`: a row per command (Linux)."""
    rows = ROWS // 100 if settings.short else ROWS
    commands = {
        f"data check, {rows} rows": ["data", "check", "large.hdf5"],
        f"200 steps, {rows} rows": [*SMALL, "task=logs", "data=large.hdf5", "trainer.steps=200", "estimate=none"],
    }
    for count in (1, 4) if settings.short else (1, 8, 32):
        commands[f"seeds={count}"] = [*TINY, f"seeds={count}"]
    for count in (1, 4) if settings.short else (1, 75, 300):
        commands[f"{count} cells"] = ["-m", *TINY, f"seed=range({count})", f"grid_dir=grid{count}"]
        commands[f"{count} cells, again"] = commands[f"{count} cells"]
        commands[f"{count} cells, status"] = ["grid", "status", f"grid{count}"]
        commands[f"{count} cells, report"] = ["report", f"grid{count}"]
    with tempfile.TemporaryDirectory() as folder:
        write_file(Path(folder, "large.hdf5"), rows)
        return {"scale": [{"what": what, **watched(words, folder)} for what, words in commands.items()]}
