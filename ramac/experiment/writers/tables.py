"""The csv tables of a run, as a logger and read back."""

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ramac.errors import InputError
from ramac.experiment.writers import Writer
from ramac.registry import loggers
from ramac.system.files import named
from ramac.system.untrusted import opened, read_csv

if TYPE_CHECKING:
    import pandas as pd

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


def episodes_of(folder: Path) -> "pd.DataFrame":
    """Rows of the episodes.csv in a folder. Raises InputError."""
    import pandas as pd  # half a second, which a program without results need not wait for

    path = folder / "episodes.csv"
    try:
        with opened(path, folder) as file:
            return pd.read_csv(file)
    except ValueError as error:
        raise error if isinstance(error, InputError) else InputError(f"{path} cannot be read: {error}") from error


def read_episodes(path: Path, root: Path) -> dict[int, list[dict[str, Any]]]:
    """Rows of an episodes.csv by gradient step, as they were written: a csv file keeps every digit of a number.

    Raises InputError.
    """
    found: dict[int, list[dict[str, Any]]] = {}
    for row in typed(path, root, {"step": int, **dict.fromkeys(EPISODE, int), "return": float}):
        found.setdefault(row.pop("step"), []).append(row)
    return found


def read_metrics(path: Path, root: Path) -> dict[int, dict[str, float]]:
    """Values of a metrics.csv by gradient step and name. Raises InputError."""
    found: dict[int, dict[str, float]] = {}
    for row in typed(path, root, {"step": int, "name": str, "value": float}):
        found.setdefault(row["step"], {})[row["name"]] = row["value"]
    return found


def typed(path: Path, root: Path, types: Mapping[str, Callable[[str], Any]]) -> Iterator[dict[str, Any]]:
    """Rows of a table that a run wrote, with these columns. Raises InputError."""
    names, rows = read_csv(path, root)
    if missing := [name for name in types if name not in names]:
        raise InputError(f"{path} has no column {missing[0]!r}")
    places = {name: names.index(name) for name in types}
    for count, row in enumerate(rows, 1):
        try:
            yield {name: types[name](row[place]) for name, place in places.items()}
        except ValueError as error:
            raise InputError(f"{path}: row {count} is damaged: {error}") from error


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
