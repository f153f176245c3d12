"""Damaged files of data: each reader gives a Log or one line, in bounded time and memory."""

import io
import json
import shutil
import zipfile
from importlib.util import find_spec

import h5py
import numpy as np
import pytest

from ramac.data import Log
from ramac.data.limits import ALWAYS
from ramac.data.sources import load
from ramac.errors import InputError
from tests.abuse.mutations import of_bytes, of_json
from trials.datasets import arrays, store, write_d4rl


def write_npz(path):
    np.savez(path, **arrays())


def write_compressed(path):
    np.savez_compressed(path, **arrays())


def write_hdf5(path):
    write_d4rl(path, **arrays())


def write_chunked(path):
    with h5py.File(path, "w") as file:
        for name, array in arrays().items():
            file.create_dataset(name, data=array, chunks=(7, *array.shape[1:]), compression="gzip", shuffle=True)


def frame():
    import pandas as pd

    given = arrays()
    wide = {f"obs_{i}": column for i, column in enumerate(given["observations"].T)}
    wide |= {f"action_{i}": column for i, column in enumerate(given["actions"].T)}
    return pd.DataFrame(wide | {key: given[key] for key in ("rewards", "terminals", "timeouts")})


def write_csv(path):
    frame().to_csv(path, index=False)


def write_parquet(path):
    frame().to_parquet(path)


FILES = {
    "x.npz": write_npz, "compressed.npz": write_compressed, "x.hdf5": write_hdf5, "chunked.hdf5": write_chunked,
    "x.csv": write_csv, "x.parquet": write_parquet,
}  # fmt: skip


def outcome(place) -> str:
    """What reading came to. Anything but a Log or an InputError is a failure."""
    try:
        log = load(str(place))
    except InputError as error:
        assert str(error) and "\n" not in str(error)
        return "refused"
    assert isinstance(log, Log) and log.observation.nbytes < ALWAYS
    return "read"


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_read_or_refused(name, tmp_path, mutations):
    if name.endswith(".parquet") and find_spec("pyarrow") is None:
        pytest.skip("needs pyarrow")
    path, random = tmp_path / name, np.random.default_rng(0)
    FILES[name](path)
    content = path.read_bytes()
    assert outcome(path) == "read"
    found = []
    for _ in range(mutations):
        path.write_bytes(of_bytes(content, random))
        found.append(outcome(path))
    assert "refused" in found


def test_a_damaged_minari_dataset_is_read_or_refused(tmp_path, mutations):
    folder = tmp_path / "datasets" / store(lengths=(5, 3, 4))
    main, about = folder / "data" / "main_data.hdf5", folder / "data" / "metadata.json"
    content, description, random = main.read_bytes(), json.loads(about.read_text()), np.random.default_rng(0)
    found = []
    for turn in range(mutations):
        if turn % 2:
            main.write_bytes(of_bytes(content, random))
        else:
            about.write_text(json.dumps(of_json(description, random)))
        found.append(outcome(folder))
        main.write_bytes(content)
        about.write_text(json.dumps(description))
    assert outcome(folder) == "read"
    assert "refused" in found


def announcing(shape) -> bytes:
    """The header of an array of this shape, without its numbers."""
    part = io.BytesIO()
    np.lib.format.write_array_header_1_0(part, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return part.getvalue()


def test_announced_sizes_are_checked_before_memory_is_taken(tmp_path):
    """Headers of 10^12 numbers, a compressed array of zeros, chunks that were never written."""
    with zipfile.ZipFile(tmp_path / "header.npz", "w") as file:
        for key, array in arrays().items():
            file.writestr(f"{key}.npy", announcing((10**12, *array.shape[1:])))
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for key, array in arrays().items():
            if key != "observations":
                file.writestr(f"{key}.npy", announcing((1, *array.shape[1:])) + bytes(8 * array[:1].size))
        with file.open("observations.npy", "w") as part:
            part.write(announcing((2**19, 64)))
            for _ in range(256):
                part.write(bytes(2**20))
    with h5py.File(tmp_path / "fill.hdf5", "w") as file:
        for key, array in arrays().items():
            file.create_dataset(key, (10**12, *array.shape[1:]), "f8", chunks=True, fillvalue=0)
    with h5py.File(tmp_path / "chunk.hdf5", "w") as file:
        for key, array in arrays().items():
            file.create_dataset(
                key, (1, *array.shape[1:]), "f8", maxshape=(None, *array.shape[1:]), chunks=(2**24, *array.shape[1:])
            )
    for name, message in (
        ("header.npz", "announces"), ("bomb.npz", "268 MB are announced"),
        ("fill.hdf5", "are announced"), ("chunk.hdf5", "are announced"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            load(str(tmp_path / name))


def test_no_pickle_is_read(tmp_path):
    given = arrays() | {"observations": np.array([[{}]] * 30, dtype=object)}
    np.savez(tmp_path / "x.npz", allow_pickle=True, **given)
    with pytest.raises(InputError, match=r"observations.npy holds Python objects, which only a pickle can store"):
        load(str(tmp_path / "x.npz"))
    shutil.copy(tmp_path / "x.npz", tmp_path / "x.pkl")
    (tmp_path / "y.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match=r"y.pkl is a pickle, which can run code, so it is not read"):
        load(str(tmp_path / "y.pkl"))
