"""Sources of logged data: an entry reads one kind of place, `data=NAME:REST` chooses it by name."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from os.path import exists, expanduser, isdir, isfile
from pathlib import Path
from typing import Any, ClassVar

from ramac.data import Log, concatenate
from ramac.data.arrays import log_of_columns
from ramac.data.hdf5 import read_d4rl
from ramac.data.kinds import kind_of
from ramac.data.roles import Read
from ramac.data.storage import reason
from ramac.errors import InputError, nearest
from ramac.registry import sources

__all__ = ["ColumnSource", "Source", "choose", "load", "read_d4rl"]
NAMED = re.compile(r"([A-Za-z_][\w-]+):(.+)")  # two letters at least: `C:` is a drive of Windows


class Source(ABC):
    """One kind of place that data lie in."""

    @abstractmethod
    def load(self, place: str) -> Log:
        """Read the data at a path or under an id. Raises InputError when they are missing or damaged."""


class ColumnSource(Source):
    """A file or folder with named columns: a subclass implements `read`, and hands its columns to `log`.

    Args:
        columns: Names of columns by their role (ramac.data.roles), `{"actions": ["u"]}`; null: the usual names.
    """

    folder: ClassVar[bool] = False  # whether the place is a folder
    endings: ClassVar[tuple[str, ...]] = ()  # of files that a missing one may have been meant to be

    def __init__(self, *, columns: dict[str, Any] | None = None) -> None:
        self.columns = columns

    @abstractmethod
    def read(self, path: Path) -> Log:
        """Read the file or folder; any exception is reported as damage. Raises InputError."""

    def load(self, place: str) -> Log:
        path = Path(place).expanduser()
        if not (isdir(path) if self.folder else isfile(path)):
            near = [str(p) for p in path.parent.glob("*") if p.suffix in self.endings] if isdir(path.parent) else []
            what = "folder" if self.folder else "file"
            raise InputError(f"no {what} {str(path)!r}{nearest(str(path), sorted(near))}")
        try:
            return self.read(path)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        except Exception as error:  # a damaged file raises whatever its reader raises
            raise InputError(f"{path} cannot be read: {reason(error)}") from error

    def log(self, path: Path, names: Iterable[str], read: Read, single: bool = True) -> Log:
        """The Log of these columns; `single`: of one number each, [T] stands for [T, 1]. Raises InputError."""
        return log_of_columns(names, read, self.columns, f"{path}: ", single=single)


def load(source: str, columns: Mapping[str, Any] | None = None) -> Log:
    """Read `mujoco/hopper/expert-v0`, a file, a folder, `NAME:REST`, or several joined by `+`.

    `columns`: names of columns by role. Raises InputError when a part is missing, damaged, or of other shapes than the
    rest.
    """
    return concatenate([_one(part, columns) for part in parts(source)])


def parts(source: str) -> list[str]:
    """The places that `+` joins; a `+` in the name of an existing file or folder joins nothing."""
    words, found = source.split("+"), []
    while words:
        ends = range(len(words), 1, -1)
        end = next((end for end in ends if exists(expanduser(choose("+".join(words[:end]))[1]))), 1)
        found.append("+".join(words[:end]))
        words = words[end:]
    return found


def choose(source: str) -> tuple[str, str]:
    """Name of the entry that reads `source`, and the place that it reads. An existing file or folder needs no name."""
    path = expanduser(source)
    if not exists(path) and (match := NAMED.fullmatch(source)):
        return match[1], match[2]
    return kind_of(Path(path)), source


def _one(source: str, columns: Mapping[str, Any] | None) -> Log:
    name, place = choose(source)
    try:
        sources.parse(name)
    except InputError as error:
        raise InputError(f"data={source!r} is no file, and there is {error}") from error
    entry: Source = sources.build({"name": name, "columns": columns} if columns else name)
    return entry.load(place)
