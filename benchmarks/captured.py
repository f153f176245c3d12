"""What capturing a gradient step gains: eager steps, and each way to run the captured ones, in alternation."""

import os
import time
from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from benchmarks.contenders import Row
from benchmarks.options import Settings
from benchmarks.timing import alternate, spread, synchronise
from benchmarks.updates import data, ramac_trainer

CELLS = ("bc", "td3bc", "iql", "cql", "fql", "radac", "rafmac")
WAYS = {"cpu": ("off", "flat", "inductor"), "cuda": ("off", "flat", "cudagraph", "inductor")}
FIRST = 10  # gradient steps in which everything is captured, whatever the delay


def measure(settings: Settings) -> dict[str, list[Row]]:
    """A row per recipe and way; `capture_seconds`: what the first steps take longer than eager ones."""
    # an empty folder, so that inductor finds nothing compiled
    with TemporaryDirectory() as folder, patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=folder):
        return {f"captured_{settings.device.type}": measured(settings)}


def measured(settings: Settings) -> list[Row]:
    """The rows, recipe by recipe."""
    logged, rows = data(device=settings.device), []
    for recipe in CELLS:
        work: dict[str, Callable[[], Any]] = {}
        first: dict[str, float] = {}
        for way in WAYS[settings.device.type]:
            trainer = ramac_trainer([f"recipe={recipe}", f"trainer.compile={way}"], logged)
            started = time.perf_counter()
            for _ in range(FIRST):
                trainer.update(trainer.batch())
            synchronise()
            first[way] = time.perf_counter() - started
            work[way] = lambda trainer=trainer: trainer.update(trainer.batch())
        times = alternate(work, 3 if settings.short else 11, 0.2)
        for way, took in times.items():
            row = {"recipe": recipe, "compile": way, **spread("ms", 1000 * took), **spread("gain", times["off"] / took)}
            rows.append({**row, "capture_seconds": max(0.0, first[way] - first["off"]) if way != "off" else None})
    return rows
