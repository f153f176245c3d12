"""Atomic writes: a file appears complete, or not at all."""

import hashlib
import json
import os
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors.torch import save
from torch import Tensor

from ramac.errors import InputError
from ramac.text import printable

PART = ".part"  # ending of a file while it is written


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path that replaces `path`, synced to disk, when the block succeeds; it is removed otherwise.

    Raises OSError that names `path`.
    """
    part = path.with_name(f".{path.name}{PART}")
    part.unlink(missing_ok=True)  # a link by that name would be written through
    try:
        with named(path):
            yield part
            synchronise(part)
            os.replace(part, path)
            synchronise(path.parent)  # the name too must survive a loss of power
    except BaseException:
        with suppress(OSError):  # the error that is told is the first one
            part.unlink(missing_ok=True)
        raise


@contextmanager
def named(path: Path) -> Iterator[None]:
    """A block that writes a file: its OSErrors name the file. A full disk, met in the middle of it, names none."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def alone(path: Path, wait: bool = False) -> Iterator[None]:
    """A block in which no other process writes `path`, a file or folder; `wait` for one that does.

    The lock is a file beside it, so that it is on the same machine or share. Raises InputError where another process
    writes it, or where the lock cannot be made: another user's, a link.
    """
    lock = FileLock(path.with_name(f".{path.name.lstrip('.')}.lock"))
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise InputError(f"{path}: another process is writing it") from None
    except OSError as error:
        raise InputError(f"{lock.lock_file} cannot be used: {error.strerror or error}") from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps a file that is open
            os.unlink(lock.lock_file)
        lock.release()


def refuse_taken(target: Path, kind: str) -> None:
    """Refuse a place for a new `kind`, file or folder, that is taken or cannot be made. Raises InputError."""
    if os.path.lexists(target):
        raise InputError(f"{target} exists already; name a new {kind}")
    if not os.path.isdir(target.parent):
        raise InputError(f"{target}: the folder {target.parent} does not exist")
    try:
        pathconf = getattr(os, "pathconf", lambda *_: 255)  # Windows has none: NTFS's longest name
        longest = pathconf(target.parent, "PC_NAME_MAX") - len(f".{PART}")
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror or error}") from error
    if len(os.fsencode(target.name)) > longest:
        raise InputError(f"{target.name[:40]}...: a name has at most {longest} bytes")
    if not os.access(target.parent, os.W_OK):
        raise InputError(f"{target}: the folder {target.parent} cannot be written to")


def synchronise(path: Path) -> None:
    """Sync a file's content, or a folder's names, to disk."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically."""
    with whole(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_traceback(path: Path) -> None:
    """Write the traceback of the exception that is handled, in characters that a terminal shows."""
    path.write_text("".join(f"{printable(line)}\n" for line in traceback.format_exc().splitlines()), encoding="utf-8")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], content: Any = None) -> None:
    """Write atomically a safetensors file whose header has plain `content` and a checksum of both."""
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = json.dumps(content)
    # a single entry, because safetensors writes several in random order and equal content must give equal bytes
    data = save(plain, {"ramac": json.dumps({"content": text, "sha256": checksum(plain, text)})})
    with whole(path) as part:
        part.write_bytes(data)


def checksum(tensors: Mapping[str, Tensor], content: str) -> str:
    """SHA-256 of named tensors, their types and shapes, and a text."""
    found = hashlib.sha256(content.encode())
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        found.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def checksum_of_json(content: Mapping[str, Any]) -> str:
    """SHA-256 of plain data, leaving out its key `sha256`."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def digest(content: Any) -> str:
    """Eight hexadecimal digits that stand for plain data."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:8]
