"""Files that are there whole or not at all, whatever happens while they are written."""

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

PART = ".part"  # ending of what is being written


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place to write to, which becomes `path` when the block ends well, on the disk itself; else nothing is left."""
    part = path.with_name(f".{path.name}{PART}")
    try:
        yield part
        synchronise(part)
        os.replace(part, path)
        synchronise(path.parent)  # the name too must survive a loss of power
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def synchronise(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, content: Any) -> None:
    """JSON, whole or not at all."""
    with whole(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], content: Any = None) -> None:
    """A safetensors file with plain `content` and a checksum of both in its header, whole or not at all."""
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = json.dumps(content)
    # one entry: safetensors writes several in random order, and equal files should be equal byte for byte
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
    """SHA-256 of plain data without its own `sha256`."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
