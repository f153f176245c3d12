"""The csv tables of a run, as a logger and read back."""

import csv
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ramac.experiment.writers import Writer
from ramac.registry import loggers
from ramac.system.files import named

METRIC: tuple[str, ...] = ("step", "name", "value")  # columns of metrics.csv
EPISODE: tuple[str, ...] = (
    "episode",
    "return",
    "length",
    "risky_steps",
    "penalties",
)  # columns of a csv file of episodes


class Table:
    """A csv file that grows row by row and can be read while the run lasts; cut to `size` bytes where it is given."""

    def __init__(self, path: Path, header: Iterable[str], size: int | None) -> None:
        if size is not None:
            os.truncate(path, size)
        self.file = path.open("w" if size is None else "a", newline="", encoding="utf-8")
        self.path, self.writer = path, csv.DictWriter(self.file, list(header))
        if size is None:
            self.writer.writeheader()

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows. Raises OSError that names the file."""
        with named(self.path):
            self.writer.writerows(rows)
            self.file.flush()

    def size(self) -> int:
        """Bytes on the disk."""
        with named(self.path):
            self.file.flush()
            os.fsync(self.file.fileno())
            return os.fstat(self.file.fileno()).st_size

    def close(self) -> None:
        """Close the file. `write` has flushed every row; one that it could not write is tried again here, in vain."""
        with suppress(OSError):
            self.file.close()


def read_episodes(path: Path) -> dict[int, list[dict[str, Any]]]:
    """Rows of an episodes.csv by gradient step, as they were written: a csv file keeps every digit of a number."""
    found: dict[int, list[dict[str, Any]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            step = int(row.pop("step"))
            found.setdefault(step, []).append({key: (float if key == "return" else int)(row[key]) for key in EPISODE})
    return found


def read_metrics(path: Path) -> dict[int, dict[str, float]]:
    """Values of a metrics.csv by gradient step and name."""
    found: dict[int, dict[str, float]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found.setdefault(int(row["step"]), {})[row["name"]] = float(row["value"])
    return found


@loggers.register("csv")
class CSV(Writer):
    """metrics.csv and episodes.csv in the run folder. Reports and resumed runs read them: csv is always there."""

    def __init__(self, folder: Path, sizes: Mapping[str, int]) -> None:
        super().__init__(folder, sizes)
        headers = {"metrics.csv": METRIC, "episodes.csv": ("step", *EPISODE)}
        self.tables = {name: Table(folder / name, header, sizes.get(name)) for name, header in headers.items()}

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.tables["metrics.csv"].write({"step": step, "name": key, "value": value} for key, value in values.items())

    def episodes(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None:
        self.tables["episodes.csv"].write({"step": step, **row} for row in rows)

    def sizes(self) -> dict[str, int]:
        return {name: table.size() for name, table in self.tables.items()}

    def close(self) -> None:
        for table in self.tables.values():
            table.close()
