"""Reading: run folders at any depth, and csv files of other people's episodes."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ramac.errors import InputError
from ramac.experiment.config import flat
from ramac.experiment.folder import RunFolder
from ramac.registry import tasks
from ramac.reporting.columns import MEASURED, columns, episodes_of
from ramac.system.untrusted import read_json, read_yaml

HEADLINE = ("task", "recipe", "actor", "critic", "risk", "loss", "steps", "seed")  # keys of summary.json
LONGEST = 1000  # characters of a reason on the page
SKIPPED = {"checkpoint", "checkpoints", "evaluations", "report"}  # folders that never hold a run


@dataclass(frozen=True, eq=False)
class Run:
    """One training run, or the rows of a csv file that agree in every setting and the seed."""

    source: str
    settings: dict[str, str]  # dotted keys of config.yaml and the names of summary.json, as text
    episodes: dict[str, np.ndarray]  # columns MEASURED where known: [episodes]
    summary: dict[str, Any] = field(default_factory=dict)
    read_metrics: Callable[[], dict[str, pd.Series]] | None = None  # None where the run has none
    calibration: dict[str, Any] = field(default_factory=dict)
    named: tuple[str, ...] = ()  # settings that are columns of a csv file
    averaged: int = 1  # the last evaluated checkpoints over which the run is scored

    @cached_property
    def metrics(self) -> dict[str, pd.Series]:
        """Name -> values, indexed by gradient step; read when they are drawn, as of many runs only a few are."""
        return self.read_metrics() if self.read_metrics else {}

    @cached_property
    def scored(self) -> dict[str, np.ndarray]:
        """The episodes of these checkpoints."""
        steps = self.episodes["step"]
        last = steps >= np.unique(steps)[-self.averaged :][0]
        return {name: values[last] for name, values in self.episodes.items()}

    @cached_property
    def returns(self) -> np.ndarray:
        """Returns of these episodes, [checkpoints, episodes]."""
        order = np.lexsort((self.scored["episode"], self.scored["step"]))
        return self.scored["return"][order].reshape(self.averaged, -1)

    def column(self, name: str) -> np.ndarray:
        """A column of these episodes, nan where it is not there: [checkpoints * episodes]."""
        return self.scored[name] if name in self.scored else np.full_like(self.scored["return"], np.nan)

    def by_step(self, measure: Callable[[np.ndarray], float]) -> pd.Series:
        """A measure of the returns at each evaluated gradient step."""
        steps, returns = self.episodes["step"], self.episodes["return"]
        return pd.Series(
            {step: measure(returns[steps == step]) for step in np.unique(steps[~np.isnan(steps)])}, dtype=float
        )


@dataclass
class Reading:
    """What was found: runs with a result, and what has none or is incomplete, with the reason."""

    runs: list[Run] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)  # (source, reason)
    notes: list[str] = field(default_factory=list)


def gather(paths: Sequence[str]) -> Reading:
    """Read run folders, folders that hold them, and csv files.

    Raises InputError for a path that is neither, and where nothing has a result.
    """
    reading, seen = Reading(), set()
    for path in map(Path, paths):
        if not path.is_dir() and not (path.is_file() and path.suffix == ".csv"):
            raise InputError(f"no folder and no csv file {str(path)!r}; give run folders, folders of them or csv files")
        found = list(run_folders(path)) if path.is_dir() else [path]
        if not found:
            raise InputError(f"no run folder in {str(path)!r}; one has config.yaml, summary.json, episodes.csv")
        for place in found:
            if (resolved := place.resolve()) not in seen:
                seen.add(resolved)
                read(place, reading)
    if not reading.runs:
        (source, reason), count = reading.problems[0], len(reading.problems)
        more = f", and {count - 1} more like it" if count > 1 else ""
        raise InputError(f"no finished run in {', '.join(paths)}: {source}: {reason}{more}")
    add_task(reading)
    return reading


def add_task(reading: Reading) -> None:
    """Give runs of a csv file without a task the task of the run folders, if these have only one."""
    tasks = {run.settings["task"] for run in reading.runs if "task" in run.settings and not run.named}
    if len(tasks) == 1:
        (task,) = tasks
        for source in dict.fromkeys(run.source for run in reading.runs if "task" not in run.settings):
            reading.notes.append(f"{source} names no task; it is taken to be {task}, the run folders' only one")
        for run in reading.runs:
            run.settings.setdefault("task", task)


def run_folders(root: Path) -> Iterator[Path]:
    """Folders with a config.yaml, or of a failed cell, at any depth, in the order of their names."""
    for folder, below, files in os.walk(root):
        below[:] = sorted(name for name in below if name not in SKIPPED and not name.startswith("."))
        if {"config.yaml", "failed.json"} & set(files):
            yield Path(folder)


def read(place: Path, reading: Reading) -> None:
    """Add a run folder or a csv file to the reading, or the reason why it cannot be used."""
    folder = RunFolder(place)
    try:
        if place.is_file():
            reading.runs += foreign(place)
        elif (state := folder.state) == "finished":
            reading.runs.append(finished(folder, reading))
        elif state == "failed":
            raise InputError(f"failed: {folder.reason}")
        else:
            raise InputError(f"{'running' if state == 'running' else 'unfinished'}: no {folder.summary_file.name}")
    except InputError as error:
        reading.problems.append((str(place), str(error)))
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # values of others, where pandas takes them
        reading.problems.append((str(place), f"damaged: {type(error).__name__}: {error}"))


def finished(folder: RunFolder, reading: Reading) -> Run:
    """A run folder with a result. A damaged side file becomes one of the reading's problems. Raises InputError."""
    summary = folder.summary
    if "failure" in summary:
        raise InputError(f"failed: {summary['failure']['reason']}")
    if not getattr(tasks.get(str(summary.get("task"))), "has_environment", True):
        raise InputError(f"no episodes without an environment; ramac estimate {folder} judges it by its data")
    episodes = episodes_of(folder.episodes_file, folder.path)
    # plain settings, not RunConfig: a plug-in of somebody else need not be here to compare its episodes
    settings = {text(key): text(value) for key, value in flat(read_yaml(folder.config_file, folder.path)).items()}
    settings |= {key: text(value) for key, value in ({"recipe": "none"} | summary).items() if key in HEADLINE}
    if isinstance(summary.get("loss"), list):
        settings["loss"] = "+".join(map(text, summary["loss"]))
    if missing := [key for key in ("task", "actor", "seed") if key not in settings]:
        raise InputError(f"{folder.summary_file} has no {missing[0]!r}")
    metrics = partial(attempt, curves, folder, reading) if os.path.lexists(folder.metrics_file) else None
    calibration = attempt(predictions, folder, reading)
    run = Run(str(folder), settings, episodes, summary, metrics, calibration, averaged=averaged(summary))
    counts = np.unique(run.scored["step"], return_counts=True)[1]
    if set(counts.tolist()) != {counts.sum() // run.averaged}:
        raise InputError(
            f"episodes.csv: the last {run.averaged} checkpoints must have the same number of episodes each"
        )
    return run


def attempt(read: Callable[[RunFolder], dict[str, Any]], folder: RunFolder, reading: Reading) -> dict[str, Any]:
    """What a side file holds; a damaged one becomes one of the reading's problems."""
    try:
        return read(folder)
    except InputError as error:
        reading.problems.append((str(folder), f"{error}; the rest of the run is used"))
        return {}


def averaged(summary: dict[str, Any]) -> int:
    """How many checkpoints a run was scored over, by its summary."""
    checkpoint = summary.get("checkpoint")
    means = checkpoint.get("return_means") if isinstance(checkpoint, dict) else None
    return max(1, len(means)) if isinstance(means, dict) else 1


def curves(folder: RunFolder, growing: bool = False) -> dict[str, pd.Series]:
    """Each metric's values by gradient step; of a step that is there twice, the last. Raises InputError."""
    if not os.path.lexists(folder.metrics_file):
        return {}
    needed, numeric = ("step", "name", "value"), ("step", "value")
    values = columns(folder.metrics_file, needed, folder.path, numeric, strict=False, growing=growing)
    found: dict[str, dict[float, float]] = {}
    for step, name, value in zip(values["step"].tolist(), values["name"], values["value"].tolist(), strict=True):
        part = found.setdefault(str(name), {})
        part.pop(step, None)
        part[step] = value
    return {name: pd.Series(list(part.values()), list(part), dtype=float) for name, part in sorted(found.items())}


def predictions(folder: RunFolder) -> dict[str, Any]:
    """What calibration.json says at each level of CVaR, empty where there is none. Raises InputError."""
    path = folder.calibration_file
    found = read_json(path, folder.path) if os.path.lexists(path) else {}
    lines = found.setdefault("cvar", []) if found else []
    if not isinstance(lines, list) or any(np.isnan(number(line, "alpha")) for line in lines):
        raise InputError("calibration.json: cvar must be a list of mappings with a number alpha")
    return found


def foreign(path: Path) -> list[Run]:
    """Other people's episodes: one run per combination of settings and seed. Raises InputError."""
    found = columns(path, ("episode", "return"), None, MEASURED, strict=True)
    count = len(found["return"])
    found = {"step": np.zeros(count), "seed": ["0"] * count} | found
    table = pd.DataFrame({k: part if k in MEASURED else pd.Series(part, dtype=object) for k, part in found.items()})
    keys = [str(name) for name in table if name not in (*MEASURED, "seed")]
    runs = []
    for (*cell, seed), part in table.groupby([*keys, "seed"], sort=False):
        named = dict(zip(keys, map(str, cell), strict=True)) or {"method": path.stem}
        measured = {name: part[name].to_numpy() for name in MEASURED if name in part}
        runs.append(Run(str(path), named | {"seed": str(seed)}, measured, named=tuple(named)))
    return runs


def number(tree: Any, *keys: str) -> float:
    """A finite number inside nested mappings, nan where there is none."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return float(tree) if isinstance(tree, int | float) and abs(tree) <= sys.float_info.max else float("nan")


def text(value: Any) -> str:
    """A setting as it is written on the command line."""
    if isinstance(value, list):
        return f"[{','.join(map(text, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    # half a letter, which JSON can spell, is written out: the text columns of pandas hold only Unicode
    return f"{value:g}" if isinstance(value, float) else str(value).encode(errors="backslashreplace").decode()
