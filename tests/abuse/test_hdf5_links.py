"""HDF5 files that take their numbers from other files: a pipe would block, and the content would be somebody else's."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from ramac.data.sources import load
from ramac.data.storage import place
from ramac.errors import InputError
from trials.datasets import arrays, store, write_d4rl


def link(file: h5py.File, name: str, other: Path) -> None:
    file[name] = h5py.ExternalLink(str(other), name)


def outside(file: h5py.File, name: str, other: Path) -> None:
    shape = arrays(20)["actions"].shape
    file.create_dataset(name, shape, np.float64, external=[(str(other), 0, h5py.h5f.UNLIMITED)])


def virtual(file: h5py.File, name: str, other: Path) -> None:
    layout = h5py.VirtualLayout((20, 3), np.float64)
    layout[:] = h5py.VirtualSource(str(other), "x", (20, 3))
    file.create_virtual_dataset(name, layout)


@pytest.mark.parametrize("change", [link, outside, virtual])
@pytest.mark.parametrize("minari", [False, True])
def test_numbers_in_another_file_are_not_read(change, minari, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    source = store(lengths=(20,)) if minari else str(write_d4rl(tmp_path / "x.hdf5", **arrays(20)))
    path = place(source) / "data/main_data.hdf5" if minari else Path(source)
    name = "episode_0/actions" if minari else "actions"
    with h5py.File(path, "r+") as file:
        del file[name]
        change(file, name, tmp_path / "pipe")
    with pytest.raises(InputError, match=f"{name} is a link to the file|the numbers of {name} lie in another file"):
        load(source)


def test_what_minari_would_make_room_for_is_compared_with_the_file(tmp_path):
    about = place(store(lengths=(20,))) / "data/metadata.json"
    about.write_text(about.read_text().replace('"total_episodes": 1', '"total_episodes": 100000000000'))
    with pytest.raises(InputError, match="arrays of 800000 MB are announced by a file of"):
        load("bad/data-v0")
