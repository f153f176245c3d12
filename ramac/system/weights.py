"""Weights that others may have written: safetensors of exactly the names, shapes and types that are wanted."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ramac.errors import InputError, nearest
from ramac.system.files import checksum
from ramac.system.paths import regular

WEIGHTS = 2**28  # numbers in one agent, 1 GiB: a thousand times the default networks
DTYPES = {torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16"}
DTYPES |= {torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL"}


class Allowance(TorchFunctionMode):
    """Inside the block, parameters may have at most `numbers` numbers in all; a layer is refused before its memory is
    allocated. Raises InputError.
    """

    def __init__(self, numbers: int = WEIGHTS, reason: str = "") -> None:
        super().__init__()
        self.most, self.left, self.reason = numbers, numbers, reason

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.empty:  # torch.nn and ramac.nets allocate parameters with it
            sizes = args[0] if len(args) == 1 and isinstance(args[0], list | tuple) else args
            self.left -= math.prod(sizes)
            if self.left < 0:
                shape = " x ".join(map(str, sizes))
                most = self.reason or f"at most {self.most} are allowed"
                raise InputError(f"the networks are too large: a layer of {shape} weights; {most}")
        return func(*args, **(kwargs or {}))


class Weights:
    """A safetensors file; only its header is read at first. Raises InputError when it is damaged.

    `text` and `sha256` come from `ramac.system.files.write_tensors`; they are None in files of other programs.
    """

    def __init__(self, path: Path, root: Path | None = None) -> None:
        self.path = regular(path, root)
        try:
            with safe_open(path, framework="pt") as file:
                parts = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118  (not a mapping)
                self.header = {key: (tuple(part.get_shape()), part.get_dtype()) for key, part in parts.items()}
                added = json.loads((file.metadata() or {}).get("ramac", "{}"))
                self.text, self.sha256 = added.get("content"), added.get("sha256")
        except (OSError, SafetensorError, ValueError, AttributeError, RecursionError) as error:
            raise InputError(f"{path} is not a safetensors file: {error}") from error

    @property
    def numbers(self) -> int:
        """Number of weights in the file."""
        return sum(math.prod(shape) for shape, _ in self.header.values())

    def load(self, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors, finite and with exactly the names, shapes and types of `wanted`. Raises InputError."""
        for key in wanted:
            if key not in self.header:
                raise InputError(f"{self.path} has no {key!r}{nearest(key, self.header)}")
        for key, (shape, dtype) in self.header.items():
            if key not in wanted:
                raise InputError(f"{self.path}: {key!r} does not belong to this agent{nearest(key, wanted)}")
            need = tuple(wanted[key].shape), DTYPES.get(wanted[key].dtype)
            if (shape, dtype) != need:
                raise InputError(f"{self.path}: {key} is {dtype} {list(shape)}, not {need[1]} {list(need[0])}")
        with safe_open(self.path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in self.header}
        if self.sha256 is not None and self.sha256 != checksum(state, self.text or ""):
            raise InputError(f"{self.path} is damaged: its checksum does not match")
        for key, value in state.items():
            if not value.isfinite().all():
                raise InputError(f"{self.path}: {key} is nan or infinite in {(~value.isfinite()).sum()} places")
        return state
