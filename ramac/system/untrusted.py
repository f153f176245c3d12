"""Reading files that others may have written: settings, descriptions and weights as plain data of bounded size.

Nothing here runs code, follows a link out of the given folder, or reads the environment.
"""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ramac.errors import InputError, nearest
from ramac.system.files import checksum

LARGEST = 32 * 2**20  # bytes of a settings file: enough for observations of a million numbers
DEEPEST = 32  # levels of nested settings
WEIGHTS = 2**28  # numbers in one agent, 1 GiB: a thousand times the default networks
DTYPES = {torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16"}
DTYPES |= {torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL"}


def regular(path: Path, root: Path | None = None) -> Path:
    """The path itself, a regular file that lies in `root` after links are resolved. Raises InputError."""
    if root is not None and not path.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{path} is a link out of {root}: it is not followed")
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if not path.is_file():  # reading a pipe would block
        raise InputError(f"{path} is not a regular file")
    return path


def refuse_links(folder: Path) -> None:
    """Refuse a folder with a link out of it. Raises InputError."""
    root = folder.resolve()
    for path in folder.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise InputError(f"{path} is a link out of {folder}: it is not followed")


def text_of(path: Path, root: Path | None = None) -> str:
    """Content of a small UTF-8 file. Raises InputError."""
    try:
        if (size := regular(path, root).stat().st_size) > LARGEST:
            raise InputError(f"{path} has {size / 2**20:.0f} MiB; settings have at most {LARGEST // 2**20}")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: byte {error.start} is {error.object[error.start]:#x}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def distinct(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """The pairs as a mapping. Raises ValueError for a key that appears twice."""
    found: dict[Any, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key!r} appears twice")
        found[key] = value
    return found


class Distinct(yaml.CSafeLoader):
    """Loader of plain values that refuses a duplicate key; PyYAML itself keeps the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        distinct((key.value, None) for key, _ in node.value)
        return super().construct_mapping(node, deep)


def read_json(path: Path, root: Path | None = None) -> dict[str, Any]:
    """Mapping in a JSON file. Raises InputError."""
    try:
        content = json.loads(text_of(path, root), object_pairs_hook=distinct)
    except InputError:
        raise
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply") from error
    except ValueError as error:  # includes integers of thousands of digits
        raise InputError(f"{path} is not valid JSON: {error}") from error
    return mapping(path, content)


def read_yaml(path: Path, root: Path | None = None) -> dict[str, Any]:
    """Mapping in a YAML file of plain values: no tags, no references. Raises InputError."""
    text, depth = text_of(path, root), 0
    try:
        # check the flat events first: aliases can expand to gigabytes, and nesting can exhaust the stack
        for event in yaml.parse(text, yaml.CSafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise InputError(f"{path} is nested too deeply: at most {DEEPEST} levels are settings")
            if isinstance(event, yaml.AliasEvent):
                raise InputError(f"{path}: '*{event.anchor}' is a YAML alias; write the setting out")
        content = yaml.load(text, Distinct)
    except (yaml.YAMLError, ValueError) as error:
        raise error if isinstance(error, InputError) else InputError(f"{path} is not valid YAML: {error}") from error
    return mapping(path, content)


def mapping(path: Path, content: Any) -> dict[str, Any]:
    """The content itself, settings by name. Raises InputError."""
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no settings, but {type(content).__name__}")
    return content


def refuse_instructions(path: Path, content: Any, place: str = "") -> None:
    """Refuse settings that are more than a value: `_target_: os.system`, `${oc.env:HOME}`. Raises InputError.

    A run writes resolved settings, and entries come from the registries, so our own files contain neither.
    """
    if isinstance(content, Mapping):
        for key, value in content.items():
            inner = f"{place}.{key}" if place else str(key)
            if not isinstance(key, str) or (key.startswith("_") and key.endswith("_")):
                raise InputError(f"{path}: {inner!r} is not a setting; entries are chosen by their name only")
            refuse_instructions(path, value, inner)
    elif isinstance(content, list):
        for value in content:
            refuse_instructions(path, value, place)
    elif isinstance(content, str) and "${" in content:
        raise InputError(f"{path}: {place}={content!r} is an interpolation; a saved setting is a plain value")


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
