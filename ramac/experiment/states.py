"""The training states in a run folder: `states/<update>.safetensors`, the last few, each with a checksum."""

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from ramac.errors import InputError
from ramac.system.files import write_tensors
from ramac.system.untrusted import Weights
from ramac.training.state import State

SUFFIX = ".safetensors"


@dataclass
class Progress:
    """How far a run had come with a training state, and what it was trained on and with."""

    updates: int
    data: str  # digest of the transitions
    metrics: dict[str, float] = field(default_factory=dict)  # of the last update
    sizes: dict[str, int] = field(default_factory=dict)  # bytes of its tables
    best: dict[str, float] = field(default_factory=dict)  # `step` and `risk` of the best evaluation so far
    training_seconds: float = 0.0
    seconds: float = 0.0
    together: int = 1  # seeds that were trained as one
    circumstances: dict[str, str] = field(default_factory=dict)  # where other ones may round differently

    @classmethod
    def of(cls, content: Any) -> "Progress":
        """The fields of plain data. Raises InputError."""
        if not isinstance(content, dict) or set(content) != {part.name for part in fields(cls)}:
            raise InputError("it does not say how far the run had come")
        kinds = {"updates": int, "data": str, "training_seconds": float | int, "seconds": float | int, "together": int}
        inner = {"metrics": float | int, "sizes": int, "best": float | int, "circumstances": str}
        for key, value in content.items():
            plain = [value] if key in kinds else list(value.values()) if isinstance(value, dict) else [None]
            if not all(isinstance(one, kinds.get(key) or inner[key]) for one in plain):
                raise InputError(f"{key} cannot be {value!r}")
        return cls(**content)


def path_of(run: Path, updates: int) -> Path:
    """Where a run keeps its state after so many updates."""
    return run / "states" / f"{updates}{SUFFIX}"


def kept(run: Path) -> list[int]:
    """Updates after which there are states, the last first."""
    names = [path.name.removesuffix(SUFFIX) for path in (run / "states").glob(f"*{SUFFIX}")]
    return sorted((int(name) for name in names if re.fullmatch("[1-9][0-9]{0,17}", name)), reverse=True)


def save(run: Path, state: State, progress: Progress, last: int) -> None:
    """Write a state, then remove all but the `last` ones. Raises OSError; what was there before is still there."""
    path = path_of(run, progress.updates)
    path.parent.mkdir(exist_ok=True)
    write_tensors(path, state, asdict(progress))
    for updates in kept(run)[last:]:
        path_of(run, updates).unlink()


def progress_of(run: Path, updates: int) -> Progress:
    """How far the run had come with a state, read from its header alone. Raises InputError."""
    weights = Weights(path_of(run, updates), run)
    if weights.sha256 is None:
        raise InputError(f"{weights.path} has no checksum")
    try:
        progress = Progress.of(json.loads(weights.text or "null"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{weights.path} cannot be used: {error}") from error
    if progress.updates != updates:
        raise InputError(f"{weights.path} is the state after update {progress.updates}")
    return progress


def load(run: Path, updates: int, wanted: Mapping[str, Tensor]) -> tuple[State, Progress]:
    """A state of exactly the tensors that are wanted. Raises InputError when it is damaged."""
    progress, path = progress_of(run, updates), path_of(run, updates)
    for name, size in progress.sizes.items():
        if Path(name).name != name or not (run / name).is_file() or (run / name).stat().st_size < size:
            raise InputError(f"{run / name} has lost rows that were written before {path}")
    return Weights(path, run).load(wanted), progress


def newest(runs: Sequence[Path], wanted: Sequence[Mapping[str, Tensor]]) -> list[tuple[State, Progress]]:
    """The newest sound states of runs that are trained as one, all after the same update; none where there is none.

    A damaged one is warned of, and the one before is taken.
    """
    for updates in sorted(set.intersection(*(set(kept(run)) for run in runs)), reverse=True):
        try:
            return [load(run, updates, need) for run, need in zip(runs, wanted, strict=True)]
        except InputError as error:
            warnings.warn(f"a training state cannot be used, the one before it is: {error}", stacklevel=2)
    return []


def forget(run: Path, above: int) -> None:
    """Remove the states after more updates than `above`: damaged ones, and in the end all."""
    for updates in kept(run):
        if updates > above:
            path_of(run, updates).unlink()
