"""Which source reads a file or folder: by its first bytes, its ending, and what lies in it."""

import re
import zipfile
from os.path import exists, isdir, isfile
from pathlib import Path

from ramac.errors import InputError

MAGIC = {b"\x89HDF\r\n\x1a\n": "d4rl", b"PAR1": "parquet"}
ENDINGS = {
    **dict.fromkeys((".hdf5", ".h5"), "d4rl"), ".npz": "npz",
    **dict.fromkeys((".csv", ".tsv"), "csv"), **dict.fromkeys((".parquet", ".pq"), "parquet"),
}  # fmt: skip
EPISODES = ("npz", "parquet", "csv")  # what a folder of episodes may hold
PICKLES = (".pkl", ".pickle", ".pt", ".pth")
ARCHIVES = (".zip", ".gz", ".bz2", ".xz", ".zst", ".tar", ".tgz", ".7z")
REFUSED = {
    **dict.fromkeys(PICKLES, "a pickle, which can run code, so it is not read: save the arrays by numpy.savez"),
    **dict.fromkeys(ARCHIVES, "an archive: unpack it, and name the file in it"),
    ".npy": "one array, and a log has several: save them by numpy.savez",
}
SHARD = re.compile(r".*\d+-of-\d+\.parquet")
ID = re.compile(r"(?![\w-]/[^/]*$)(?:[\w-]+/)*[\w-]+-v\d+")  # of a Minari dataset: a namespace has two letters at least


def kind_of(path: Path) -> str:
    """Name of the source entry. Raises InputError for an existing file or folder that none reads."""
    return of_folder(path) if isdir(path) else of_file(path)


def of_ending(path: Path) -> str:
    """Entry that an ending names; '' where it names none."""
    return ENDINGS.get(path.suffix.lower(), "")


def of_file(path: Path) -> str:
    """Entry for a file; by the ending alone where there is none. Raises InputError."""
    suffix = path.suffix.lower()
    if not exists(path):
        return of_ending(path) or "minari"
    if not isfile(path):  # reading a pipe would block
        raise InputError(f"{path} is not a regular file")
    try:
        with path.open("rb") as file:
            first = file.read(8)
        arrays = first[:4] == b"PK\x03\x04" and any(n.endswith(".npy") for n in zipfile.ZipFile(path).namelist())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        arrays = False  # its ending says what it was
    kind = next((kind for magic, kind in MAGIC.items() if first.startswith(magic)), "npz" if arrays else None)
    if kind is None and suffix in REFUSED:
        raise InputError(f"{path} is {REFUSED[suffix]}")
    kind = kind or of_ending(path)
    if not kind:
        known = ", ".join(sorted(set(ENDINGS.values())))
        raise InputError(f"{path}: its ending says no format; data=NAME:{path} with NAME one of {known}")
    return kind


def of_folder(path: Path) -> str:
    """Entry for a folder. Raises InputError where nothing in it is data."""
    data = path / "data"
    if (path / "meta" / "info.json").exists() or next(data.glob("chunk-*/*.parquet"), None):
        return "lerobot"
    cards = any((path / name).exists() for name in ("dataset_info.json", "state.json", "dataset_dict.json"))
    if cards or next(data.glob("*.parquet"), None) or any(SHARD.fullmatch(p.name) for p in path.glob("*.parquet")):
        return "huggingface"
    if data.is_dir():
        return "minari"
    if any(of_ending(file) in EPISODES for file in path.iterdir()):
        return "episodes"
    if ID.fullmatch(str(path)):  # a folder may have the name of a dataset that is elsewhere
        return "minari"
    known = "npz, parquet or csv files, one per episode, a Minari, LeRobot or Hugging Face dataset"
    raise InputError(f"{path} is a folder without data: no {known}")
