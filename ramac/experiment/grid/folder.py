"""The folder of a sweep: `grid.json` lists its runs, `<grid>/<run>/` is the folder of one."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ramac.errors import InputError
from ramac.experiment.config import RunConfig
from ramac.experiment.folder import RunFolder
from ramac.system.files import digest, write_json
from ramac.system.paths import inside, regular
from ramac.system.untrusted import LONG_JSON_BYTES, read_json

PATIENCE = 60  # seconds to wait for another command that writes grid.json


@dataclass(frozen=True)
class Cell:
    """One run of a sweep: its overrides, and the name of its folder or why it was refused."""

    overrides: list[str]
    name: str | None
    refused: str | None = None

    @classmethod
    def of(cls, config: RunConfig, overrides: Sequence[str]) -> "Cell":
        """The folder's name is the same whenever the configuration is: the run's name and a digest of its settings."""
        return cls(list(overrides), f"{config.name}-{digest(config.identity)}")

    @classmethod
    def read(cls, record: Any) -> "Cell":
        """A record of grid.json. Raises InputError."""
        cell = cls(record["overrides"], record.get("cell"), record.get("refused")) if valid(record) else None
        if cell is None:
            raise InputError(f"no run of a sweep is {record!r}"[:200])
        return cell

    @property
    def key(self) -> str:
        """What tells it from other cells."""
        return self.name or digest(self.overrides)

    def record(self) -> dict[str, Any]:
        """As grid.json has it."""
        refused = {} if self.refused is None else {"refused": self.refused}
        return {"overrides": self.overrides, "cell": self.name, **refused}


def valid(record: Any) -> bool:
    """Whether plain data describe a cell."""
    if not isinstance(record, dict) or not isinstance(record.get("overrides"), list):
        return False
    name, refused = record.get("cell"), record.get("refused")
    named = isinstance(refused, str) if name is None else isinstance(name, str) and is_name(name)
    return named and all(isinstance(override, str) for override in record["overrides"])


def is_name(name: str) -> bool:
    """Whether a name is that of one folder, in its sweep and nowhere else."""
    return name == Path(name).name not in ("", "..") and name.isprintable() and len(name.encode()) < 256


@dataclass(frozen=True)
class GridFolder:
    """The folder of a sweep. `path` need not exist yet."""

    path: Path

    @property
    def list_file(self) -> Path:
        return self.path / "grid.json"

    def run(self, cell: Cell) -> RunFolder:
        """Folder of a run. Raises InputError for a link out of the sweep."""
        return RunFolder(inside(self.path / str(cell.name), self.path))

    @property
    def cells(self) -> list[Cell]:
        """The runs that it lists. Raises InputError when it is no folder of a sweep."""
        if not os.path.lexists(self.list_file):
            raise InputError(f"{self.path} is no sweep: it has no grid.json; ramac -m ... makes one")
        records = read_json(self.list_file, self.path, LONG_JSON_BYTES).get("cells")
        if not isinstance(records, list):
            raise InputError(f"{self.list_file} is damaged: cells must be a list, got {records!r}"[:200])
        try:
            return [Cell.read(record) for record in records]
        except InputError as error:
            raise InputError(f"{self.list_file} is damaged: {error}") from error

    def add(self, cells: Sequence[Cell]) -> None:
        """Write runs into grid.json beside those that are there; of several commands one waits for the other.

        Raises InputError when the folder cannot be used.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(lock := self.path / ".grid.lock"):
                regular(lock, self.path)
            with FileLock(lock, timeout=PATIENCE):
                before = self.cells if os.path.lexists(self.list_file) else []
                known = {cell.key: cell for cell in [*before, *cells]}
                write_json(self.list_file, {"cells": [cell.record() for cell in known.values()]})
        except Timeout:
            raise InputError(f"grid_dir={self.path}: another command has held grid.json for a minute") from None
        except OSError as error:
            raise InputError(f"grid_dir={self.path} cannot be used: {error.strerror}") from error
