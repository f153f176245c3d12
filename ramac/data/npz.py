"""Arrays of numpy.savez, whose announced sizes are checked before they are read; no pickles."""

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ramac.data.limits import refuse_larger
from ramac.errors import InputError


def npz_names(path: Path) -> list[str]:
    """Names of the arrays in an npz file."""
    with zipfile.ZipFile(path) as file:
        return [name.removesuffix(".npy") for name in file.namelist() if name.endswith(".npy")]


def npz_columns(path: Path, names: list[str]) -> dict[str, Any]:
    """Arrays of an npz file. Raises InputError, and what zipfile and NumPy raise."""
    with zipfile.ZipFile(path) as file:
        refuse_larger(sum(announced(file, f"{name}.npy") for name in names), path.stat().st_size)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}


def announced(archive: zipfile.ZipFile, member: str) -> int:
    """Bytes of an array, by its own header, which its place in the archive must hold. Raises InputError."""
    with archive.open(member) as part:
        version = np.lib.format.read_magic(part)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = header(part)
        size, begin = math.prod(shape) * kind.itemsize, part.tell()
    if kind.hasobject:
        raise InputError(f"{member} holds Python objects, which only a pickle can store")
    if min(shape, default=0) < 0 or begin + size != archive.getinfo(member).file_size:
        raise InputError(f"{member} announces {size} bytes, and {archive.getinfo(member).file_size - begin} are there")
    return size
