"""D4RL's files: flat arrays of steps in HDF5."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ramac.data import Log, large
from ramac.data.arrays import log_of_columns
from ramac.data.limits import refuse_larger
from ramac.errors import InputError

KEYS = ("observations", "actions", "rewards", "terminals", "timeouts")  # a file without one of them is refused


def read_d4rl(path: Path, columns: Mapping[str, Any] | None = None) -> Log:
    """The Log in an HDF5 file; `columns`: names of its arrays by role. Raises InputError, and what h5py raises."""
    import h5py

    with opened(path) as file:
        nodes: dict[str, Any] = {str(key): node for key in file if isinstance(node := file.get(key), h5py.Dataset)}
        refuse_groups(list(file), list(nodes), columns or {})

        def read(names: list[str]) -> dict[str, Any]:
            for name in names:
                refuse_elsewhere(name, nodes[name].id)
                if nodes[name].dtype.kind not in "fiub":
                    raise InputError(f"{name} cannot be used: numbers are needed, got {nodes[name].dtype}")
            announced = [size(nodes[name]) for name in names]
            refuse_larger(sum(announced), path.stat().st_size, sum(bytes for bytes in announced if bytes < large.LARGE))
            return {name: whole(nodes[name]) for name in names}

        return log_of_columns(nodes, read, columns, f"{path}: ", needed=KEYS)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An HDF5 file without links to others, which could be pipes. Raises InputError, and what h5py raises."""
    import h5py

    def refuse(name: str, link: object) -> None:
        if isinstance(link, h5py.ExternalLink):
            raise InputError(f"{name} is a link to the file {link.filename!r}: it is not followed")

    with h5py.File(path, "r") as file:
        file.visititems_links(refuse)
        yield file


def refuse_elsewhere(name: str, node: Any) -> None:
    """Refuse an array (h5py.h5d.DatasetID) whose numbers lie in other files. Raises InputError."""
    import h5py

    stored = node.get_create_plist()
    if stored.get_layout() == h5py.h5d.VIRTUAL or stored.get_external_count():
        raise InputError(f"the numbers of {name} lie in another file: it is not read")


def refuse_outside(path: Path) -> None:
    """Refuse an HDF5 file with a link to another file or an array in one. Raises InputError, and what h5py raises."""
    import h5py

    def refuse(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset):
            refuse_elsewhere(name, node.id)

    with opened(path) as file:
        file.visititems(refuse)


def whole(node: Any) -> np.ndarray:
    """The numbers of an HDF5 dataset; many of them stay on disk."""
    if size(node) < large.LARGE:
        return node[()]
    node.read_direct(found := large.empty(node.shape, node.dtype))
    return found


def size(node: Any) -> int:
    """Bytes that reading an HDF5 dataset takes; a chunk is decompressed as a whole."""
    return max(math.prod(node.shape or ()), math.prod(node.chunks or (0,))) * node.dtype.itemsize


def refuse_groups(keys: list[str], arrays: list[str], columns: Mapping[str, Any]) -> None:
    """Refuse a file whose arrays lie in groups. Raises InputError."""
    if "episode_0" in keys and "observations" not in keys:
        raise InputError("this log has no 'observations'; it is Minari's storage: name the dataset's folder")
    for key in KEYS:
        if key in keys and key not in arrays and key not in columns:
            raise InputError(f"{key!r} is a group of arrays, not one array")
