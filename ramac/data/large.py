"""Arrays too large for memory: they lie in a file without a name, and are read and written in blocks of rows."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from ramac.errors import InputError
from ramac.text import say

LARGE = 2**30  # bytes from which on an array lies on disk, our own bound: 1 GiB
BLOCK = 2**25  # bytes of rows that are worked on at once: 32 MiB


def empty(shape: Sequence[int], kind: Any) -> np.ndarray:
    """An array [*shape] to be filled. A large one is mapped from a file without a name, which ends with the process.

    Raises InputError where the disk has no room for it.
    """
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize
    if size < LARGE:
        return np.empty(shape, kind)
    folder = "the folder for temporary files"
    try:
        tell(folder := tempfile.gettempdir())
        if size > (free := shutil.disk_usage(folder).free):  # a hole in a file would end the process when it is written
            raise InputError(
                f"an array of {size / 1e9:.1f} GB is kept on disk, and {folder} has {free / 1e9:.1f} GB free;"
                " make room or set TMPDIR"
            )
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, kind, "r+", shape=tuple(shape)).view(np.ndarray)
    except OSError as error:
        raise InputError(
            f"an array of {size / 1e9:.1f} GB cannot be kept in {folder}: {error.strerror or error}; set TMPDIR"
        ) from error


@cache
def tell(folder: str) -> None:
    """Say once where large arrays are."""
    say(f"ramac: arrays of 1 GiB and more are kept on disk, in {folder}; TMPDIR=FOLDER names another", error=True)


def blocks(array: np.ndarray) -> Iterator[slice]:
    """Slices of rows that cover an array, 32 MiB at a time."""
    rows = max(1, BLOCK // max(1, array.nbytes // max(1, len(array))))
    return (slice(first, first + rows) for first in range(0, len(array), rows))


def per_row(of: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """`of` of the arrays [T, ...], computed in blocks of rows: [T]."""
    found = [of(*(array[rows] for array in arrays)) for rows in blocks(arrays[0])]
    return np.concatenate(found) if found else np.empty(0, bool)


def take(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Some rows of an array, by their indices."""
    found = empty((len(rows), *array.shape[1:]), array.dtype)
    for block in blocks(found):
        found[block] = array[rows[block]]
    return found


def cast(array: np.ndarray, kind: Any) -> np.ndarray:
    """An array in another type; itself where it has that type."""
    if array.dtype == kind or array.size * np.dtype(kind).itemsize < LARGE:
        return array.astype(kind, copy=False)
    found = empty(array.shape, kind)
    for block in blocks(array):
        found[block] = array[block]
    return found


def joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays one after the other, as `np.concatenate`."""
    found = empty((sum(map(len, arrays)), *arrays[0].shape[1:]), np.result_type(*arrays))
    return np.concatenate(arrays, out=found)
