"""What data cost: batches drawn from a million transitions, and reading a file that holds them."""

import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from benchmarks.contenders import Row
from benchmarks.options import Settings
from benchmarks.timing import alternate, spread
from benchmarks.updates import ACT_DIM, BATCH, OBS_DIM, data, ramac_trainer
from ramac.data.sources import load

ROWS, EPISODE = 1_000_000, 1000


def write_file(path: Path, rows: int) -> None:
    """A file in D4RL's layout with random steps in episodes of a thousand."""
    random, ends = np.random.default_rng(0), np.arange(rows) % EPISODE == EPISODE - 1
    with h5py.File(path, "w") as file:
        file["observations"] = random.normal(size=(rows, OBS_DIM)).astype(np.float32)
        file["actions"] = random.uniform(-1, 1, (rows, ACT_DIM)).astype(np.float32)
        file["rewards"] = random.normal(size=rows).astype(np.float32)
        file["terminals"], file["timeouts"] = np.zeros(rows, bool), ends


def measure(settings: Settings) -> dict[str, list[Row]]:
    """Table `dataset`: a row per question."""
    rows = ROWS // 100 if settings.short else ROWS
    trainer = ramac_trainer(["recipe=radac"], data(rows, settings.device))
    drawn = 1 / alternate({"batch": trainer.batch}, 15)["batch"]
    found: list[Row] = [{"what": f"batches of {BATCH} per second", "rows": rows, **spread("value", drawn)}]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "million.hdf5")
        write_file(path, rows)
        took = []
        for _ in range(5):
            started = time.perf_counter()
            load(str(path)).transitions()
            took.append(time.perf_counter() - started)
        size = path.stat().st_size / 1e6
    found.append({"what": f"seconds to read a D4RL file of {size:.0f} MB", "rows": rows, **spread("value", took)})
    return {"dataset": found}
