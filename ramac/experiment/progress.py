"""Training states in a run folder, `states/<step>.safetensors`: the last few, each with a checksum and its progress."""

import json
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from ramac.checkpoint import release
from ramac.errors import InputError
from ramac.experiment.folder import RunFolder
from ramac.system.files import write_tensors
from ramac.system.runtime import versions
from ramac.system.weights import Weights

SUFFIX = ".safetensors"
NUMBER = (float, int)
KINDS = {"updates": int, "data": str, "training_seconds": NUMBER, "seconds": NUMBER, "together": int}
INNER = {"metrics": NUMBER, "sizes": int, "best": NUMBER, "circumstances": str}  # values of mappings


@dataclass
class Progress:
    """How far a run had come when a training state was saved. The names are those of the file, since version 0.1."""

    updates: int  # gradient steps
    data: str  # digest of the transitions
    metrics: dict[str, float] = field(default_factory=dict)  # of the last gradient step
    sizes: dict[str, int] = field(default_factory=dict)  # bytes of the tables
    best: dict[str, float] = field(default_factory=dict)  # `step` and `risk` of the best evaluation so far
    training_seconds: float = 0.0
    seconds: float = 0.0
    together: int = 1  # seeds that version 0.1 trained as one
    circumstances: dict[str, str] = field(default_factory=dict)  # what can change floating-point rounding

    @classmethod
    def of(cls, content: Any) -> "Progress":
        """Progress of plain data. Raises InputError."""
        if not isinstance(content, dict) or set(content) != {part.name for part in fields(cls)}:
            raise InputError("it does not say how far the run had come")
        for key, value in content.items():
            plain = [value] if key in KINDS else list(value.values()) if isinstance(value, dict) else [None]
            if not all(isinstance(one, KINDS.get(key) or INNER[key]) for one in plain):
                raise InputError(f"{key} cannot be {value!r}")
        return cls(**content)


class Clock:
    """Seconds of a run, added up over all its processes; work lost after the last saved state is not counted."""

    def __init__(self, began: float, progress: Progress | None) -> None:
        """`began`: start of this process's share, as `time.perf_counter` gives it."""
        before = (0.0, 0.0) if progress is None else (progress.seconds, progress.training_seconds)
        self.began, self.training_began = began - before[0], time.perf_counter() - before[1]

    @property
    def seconds(self) -> float:
        """Seconds of everything."""
        return time.perf_counter() - self.began

    @property
    def training_seconds(self) -> float:
        """Seconds without evaluations."""
        return time.perf_counter() - self.training_began

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A block that is not training."""
        before = time.perf_counter()
        yield
        self.training_began += time.perf_counter() - before


def path_of(folder: RunFolder, step: int) -> Path:
    """File of the state after a gradient step."""
    return folder.states / f"{step}{SUFFIX}"


def kept(folder: RunFolder) -> list[int]:
    """Gradient steps after which there are states, the last one first."""
    names = [path.name.removesuffix(SUFFIX) for path in folder.states.glob(f"*{SUFFIX}")]
    return sorted((int(name) for name in names if re.fullmatch("[1-9][0-9]{0,17}", name)), reverse=True)


def save(folder: RunFolder, state: Mapping[str, Tensor], progress: Progress, last: int) -> None:
    """Write a state, then remove all but the `last` ones. Raises OSError; earlier states are then still there."""
    path = path_of(folder, progress.updates)
    path.parent.mkdir(exist_ok=True)
    write_tensors(path, state, asdict(progress))
    for step in kept(folder)[last:]:
        path_of(folder, step).unlink()


def progress_of(folder: RunFolder, step: int) -> Progress:
    """Progress of a state, read from its header alone. Raises InputError."""
    weights = Weights(path_of(folder, step), folder.path)
    if weights.sha256 is None:
        raise InputError(f"{weights.path} has no checksum")
    try:
        progress = Progress.of(json.loads(weights.text or "null"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{weights.path} cannot be used: {error}") from error
    if progress.updates != step:
        raise InputError(f"{weights.path} is the state after gradient step {progress.updates}")
    return progress


def load(folder: RunFolder, step: int, wanted: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Progress]:
    """A state of exactly the tensors that are wanted. Raises InputError when it is damaged."""
    progress, path, run = progress_of(folder, step), path_of(folder, step), folder.path
    for name, size in progress.sizes.items():
        if Path(name).name != name or not (run / name).is_file() or (run / name).stat().st_size < size:
            raise InputError(f"{run / name} has lost rows that were written before {path}")
    return Weights(path, run).load(wanted), progress


def refuse_other_version(folder: RunFolder) -> None:
    """Refuse to resume what another minor version began: half of the run would be trained by other formulas.

    Raises InputError.
    """
    for step in kept(folder):
        try:
            began = progress_of(folder, step).circumstances.get("ramac", "")
        except InputError:  # damaged, which `newest` warns of
            continue
        now = versions(["ramac"])["ramac"]
        if began and release(began) != release(now):
            text = f"{folder} was begun by ramac {began}, whose losses are not those of {now}"
            raise InputError(f"{text}; resume it with ramac {began}, or name a new folder")
        return


def newest(folder: RunFolder, wanted: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Progress] | None:
    """The newest undamaged state; None where there is none. A damaged state is skipped with a warning."""
    for step in kept(folder):
        try:
            return load(folder, step, wanted)
        except InputError as error:
            warnings.warn(f"a training state cannot be used, the one before it is: {error}", stacklevel=2)
    return None


def forget(folder: RunFolder, above: int) -> None:
    """Remove the states after gradient steps above `above`: damaged ones, and in the end all."""
    for step in kept(folder):
        if step > above:
            path_of(folder, step).unlink()
