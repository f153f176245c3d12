"""Atomic writes: a file appears complete, or not at all."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from ramac.errors import InputError

PART = ".part"  # ending of a file while it is written


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path that replaces `path`, synced to disk, when the block succeeds; it is removed otherwise."""
    part = path.with_name(f".{path.name}{PART}")
    part.unlink(missing_ok=True)  # a link by that name would be written through
    try:
        yield part
        synchronise(part)
        os.replace(part, path)
        synchronise(path.parent)  # the name too must survive a loss of power
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def refuse_taken(target: Path, kind: str) -> None:
    """Refuse a place for a new `kind`, file or folder, that is taken or cannot be made. Raises InputError."""
    if os.path.lexists(target):
        raise InputError(f"{target} exists already; name a new {kind}")
    if not os.path.isdir(target.parent):
        raise InputError(f"{target}: the folder {target.parent} does not exist")
    try:
        longest = os.pathconf(target.parent, "PC_NAME_MAX") - len(f".{PART}")
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror or error}") from error
    if len(os.fsencode(target.name)) > longest:
        raise InputError(f"{target.name[:40]}...: a name has at most {longest} bytes")
    if not os.access(target.parent, os.W_OK):
        raise InputError(f"{target}: the folder {target.parent} cannot be written to")


def synchronise(path: Path) -> None:
    """Sync a file's content, or a folder's names, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically."""
    with whole(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n")


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
