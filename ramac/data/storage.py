"""Atomic writes of datasets: each is written to a hidden folder and moved to its place when complete."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ramac.errors import InputError
from ramac.system.files import alone

FULL = errno.ENOSPC, errno.EDQUOT, errno.EFBIG
FULL_IN_WORDS = rf"errno = ({'|'.join(map(str, FULL))})\b"


def place(dataset_id: str = "") -> Path:
    """Folder of a Minari dataset, or of all. Raises InputError when the folder cannot be used."""
    from minari.storage import get_dataset_path

    try:
        return get_dataset_path(dataset_id)
    except OSError as error:
        raise InputError(f"the folder of datasets cannot be used: {error}; set MINARI_DATASETS_PATH") from error


def exists(dataset_id: str) -> bool:
    """Whether a Minari dataset of this id is on disk."""
    return (place(dataset_id) / "data").is_dir()


@contextmanager
def datasets_root(path: Path) -> Iterator[None]:
    """Let Minari use another folder of datasets inside the block."""
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = str(path)
    try:
        yield
    finally:
        del os.environ["MINARI_DATASETS_PATH"]
        os.environ.update({} if before is None else {"MINARI_DATASETS_PATH": before})


@contextmanager
def staged(dataset_id: str, needed: int = 0) -> Iterator[Path]:
    """A hidden folder to make a dataset in; the dataset moves to its place when the block ends.

    A killed block leaves the hidden folder, which Minari does not list: the next block finds other files there, but no
    half-written dataset. A failed block leaves nothing. Only one process works at a time: check `exists` inside.
    Raises InputError when the disk cannot take `needed` bytes or cannot be written.
    """
    final, root = place(dataset_id), place()
    if final.exists() and not exists(dataset_id):
        raise InputError(f"{final} is in the way: it holds no dataset; move or delete it")
    part = root / f".part-{dataset_id.replace('/', '_')}"
    if part.is_symlink():
        raise InputError(f"{part} is a link, through which a dataset would be written elsewhere; delete it")
    try:
        if needed > (free := shutil.disk_usage(root).free):
            raise InputError(
                f"{dataset_id} needs about {needed / 1e6:.0f} MB and {root} has {free / 1e6:.0f} MB free;"
                " make room or set MINARI_DATASETS_PATH"
            )
        with alone(part, wait=True):
            part.mkdir(exist_ok=True)
            shutil.rmtree(part / dataset_id, ignore_errors=True)  # half-written by a killed process
            try:
                yield part
                if (part / dataset_id).exists() and not final.exists():
                    final.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(part / dataset_id, final)
            except Exception:
                shutil.rmtree(part, ignore_errors=True)
                raise
            shutil.rmtree(part)
    except Exception as error:
        if not (full := full_disk(error)) and not isinstance(error, PermissionError):
            raise
        what = "the disk is full" if full else str(error)
        raise InputError(
            f"{dataset_id} cannot be written in {root}: {what}; nothing was kept; make room or set MINARI_DATASETS_PATH"
        ) from error


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and its causes, down to the innermost."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def reason(error: BaseException) -> str:
    """The first line of the innermost cause, shortened."""
    *_, cause = causes(error)
    return f"{type(cause).__name__}: {cause}".splitlines()[0][:160]


def full_disk(error: BaseException) -> bool:
    """Whether a full disk caused the error; HDF5 gives its errno only in the message."""
    return any(getattr(e, "errno", None) in FULL or re.search(FULL_IN_WORDS, str(e)) for e in causes(error))
