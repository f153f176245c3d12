"""Sources of logged data: an entry reads one kind of place, `data=NAME:REST` chooses it by name."""

import re
from abc import ABC, abstractmethod
from os.path import exists, expanduser, isfile

from ramac.data import Log, concatenate
from ramac.errors import InputError
from ramac.registry import sources

NAMED = re.compile(r"([A-Za-z_][\w-]+):(.+)")  # two letters at least: `C:` is a drive of Windows


class Source(ABC):
    """One kind of place that data lie in."""

    @abstractmethod
    def load(self, place: str) -> Log:
        """Read the data at a path or under an id. Raises InputError when they are missing or damaged."""


def load(source: str) -> Log:
    """Read `mujoco/hopper/expert-v0`, `path/to/file.hdf5`, a Minari folder, `NAME:REST`, or several joined by `+`.

    Raises InputError when a part is missing, damaged, or of other shapes than the rest.
    """
    return concatenate([_one(part) for part in parts(source)])


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
    return "d4rl" if isfile(path) or path.endswith((".hdf5", ".h5")) else "minari", source


def _one(source: str) -> Log:
    name, place = choose(source)
    try:
        entry: Source = sources.build(name)
    except InputError as error:
        raise InputError(f"data={source!r} is no file, and there is {error}") from error
    return entry.load(place)
