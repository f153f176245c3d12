"""Reading: run folders at any depth, and csv files of other people's episodes."""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ramac.errors import InputError, nearest
from ramac.system.untrusted import read_json, read_yaml, regular

HEADLINE = (
    "task",
    "recipe",
    "actor",
    "critic",
    "risk",
    "loss",
    "steps",
    "seed",
)  # keys of summary.json that name a run
MEASURED = (
    "episode",
    "step",
    "return",
    "length",
    "risky_steps",
    "penalties",
)  # columns of episodes that are no setting
SKIPPED = {"checkpoint", "checkpoints", "evaluations", "report"}  # folders in which no run lies


@dataclass(frozen=True)
class Run:
    """One training run, or the rows of a csv file that agree in every setting and the seed."""

    source: str
    settings: dict[str, str]  # dotted keys of config.yaml and the names of summary.json, as text
    episodes: dict[str, np.ndarray]  # columns, [rows]
    summary: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, np.ndarray] = field(default_factory=dict)  # name -> (step, value) [rows, 2]
    calibration: dict[str, Any] = field(default_factory=dict)
    named: tuple[str, ...] = ()  # settings that are columns of a csv file

    def result(self, column: str = "return") -> np.ndarray | None:
        """A column of the episodes of the highest step, None where there is no such column."""
        if column not in self.episodes:
            return None
        step = self.episodes["step"]
        return self.episodes[column][step == step.max()]


@dataclass
class Reading:
    """What was found: runs with a result, and what has none or lacks a part, each with its reason."""

    runs: list[Run] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)  # (source, reason)
    notes: list[str] = field(default_factory=list)


def gather(paths: Sequence[str]) -> Reading:
    """Read folders of run folders, run folders and csv files.

    Raises InputError for a path that is neither, and where nothing has a result.
    """
    reading, seen = Reading(), set()
    for path in map(Path, paths):
        if path.is_file() and path.suffix == ".csv":
            found = [path]
        elif path.is_dir():
            found = list(run_folders(path))
        else:
            raise InputError(
                f"no folder and no csv file {str(path)!r}; give run folders, folders of them, or csv files"
            )
        if not found:
            raise InputError(
                f"no run folder in {str(path)!r}; a finished one has config.yaml, summary.json, episodes.csv"
            )
        for place in found:
            if (resolved := place.resolve()) not in seen:
                seen.add(resolved)
                read(place, reading)
    if not reading.runs:
        (source, reason), count = reading.problems[0], len(reading.problems)
        more = f", and {count - 1} more like it" if count > 1 else ""
        raise InputError(f"no finished run in {', '.join(paths)}: {source}: {reason}{more}")
    tasks = {run.settings["task"] for run in reading.runs if "task" in run.settings and not run.named}
    if len(tasks) == 1:
        (task,) = tasks
        for index, run in enumerate(reading.runs):
            if "task" not in run.settings:
                reading.runs[index] = replace(run, settings={"task": task, **run.settings})
                reading.notes.append(f"{run.source} names no task; it is taken to be {task}, the run folders' only one")
        reading.notes = list(dict.fromkeys(reading.notes))
    return reading


def run_folders(root: Path) -> Iterator[Path]:
    """Folders with a config.yaml, or of a failed cell, at any depth, in the order of their names."""
    for folder, below, files in os.walk(root):
        below[:] = sorted(name for name in below if name not in SKIPPED and not name.startswith("."))
        if {"config.yaml", "failed.json"} & set(files):
            yield Path(folder)


def read(place: Path, reading: Reading) -> None:
    """Add a run folder or a csv file to the reading, or the reason why it cannot be used."""
    try:
        if place.is_file():
            reading.runs += foreign(place)
        elif all((place / name).exists() for name in ("summary.json", "episodes.csv")):
            reading.runs.append(finished(place, reading))
        elif (place / "failed.json").exists():
            reading.problems.append((str(place), f"failed: {mapping(place / 'failed.json').get('reason', 'unknown')}"))
        else:
            missing = [name for name in ("summary.json", "episodes.csv") if not (place / name).exists()]
            reading.problems.append((str(place), f"unfinished: no {' and no '.join(missing)}"))
    except InputError as error:
        reading.problems.append((str(place), str(error)))


def finished(folder: Path, reading: Reading) -> Run:
    """A run folder with a result. A damaged side file is named in the reading's problems. Raises InputError."""
    summary, episodes = mapping(folder / "summary.json"), rows(folder / "episodes.csv", ("step", "episode", "return"))
    settings = flat(mapping(folder / "config.yaml"))
    settings |= {key: text(summary[key]) for key in HEADLINE if key in summary}
    settings["recipe"] = text(summary.get("recipe", "none"))
    if isinstance(summary.get("loss"), list):
        settings["loss"] = "+".join(map(text, summary["loss"]))
    if missing := [key for key in ("task", "actor", "seed") if key not in settings]:
        raise InputError(f"summary.json has no {missing[0]!r}")
    names = [name for name in MEASURED if name in episodes[0]]
    columns = {name: numbers(episodes, name, "episodes.csv") for name in names}
    metrics, calibration = {}, {}
    try:
        if (folder / "metrics.csv").exists():
            metrics = series(rows(folder / "metrics.csv", ("step", "name", "value"), empty=True))
        if (folder / "calibration.json").exists():
            calibration = mapping(folder / "calibration.json")
            lines = calibration.setdefault("cvar", [])
            if not isinstance(lines, list) or any(np.isnan(number(line, "alpha")) for line in lines):
                calibration = {}
                raise InputError("calibration.json: cvar is no list of lines with an alpha")
    except InputError as error:
        reading.problems.append((str(folder), f"{error}; the rest of the run is used"))
    return Run(str(folder), settings, columns, summary, metrics, calibration)


def foreign(path: Path) -> list[Run]:
    """Other people's episodes: one run per combination of settings and seed. Raises InputError."""
    table = rows(path, ("episode", "return"))
    for count, row in enumerate(table, 1):
        if None in row.values():
            raise InputError(f"{path.name}: row {count} has fewer than the {len(row)} columns of the first line")
    keys = [name for name in table[0] if name not in MEASURED and name != "seed"]
    parts: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in table:
        parts.setdefault(tuple(str(row.get(key)) for key in (*keys, "seed")), []).append(row)
    runs = []
    for part in parts.values():
        columns = {name: numbers(part, name, path.name) for name in MEASURED if name in part[0]}
        columns.setdefault("step", np.zeros(len(part)))
        settings = {key: str(part[0][key]) for key in keys} or {"method": path.stem}
        runs.append(
            Run(str(path), {**settings, "seed": part[0].get("seed", "0")}, columns, named=tuple(settings))
        )  # a file without a seed is of one
    return runs


def mapping(path: Path) -> dict[str, Any]:
    """Content of a json or yaml file. Raises InputError when it is damaged or no mapping."""
    try:
        return (read_json if path.suffix == ".json" else read_yaml)(path)
    except InputError as error:
        raise InputError(f"{path.name} cannot be read: {error}") from error


def rows(path: Path, needed: Sequence[str], empty: bool = False) -> list[dict[str, str]]:
    """Rows of a csv file. Raises InputError when it cannot be read, lacks a column or has no rows."""
    try:
        with regular(path).open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a byte order mark
            reader = csv.DictReader(file)
            table = list(reader)
            names = [str(name) for name in reader.fieldnames or ()]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path.name} cannot be read: {error}") from error
    for name in needed:
        if name not in names:
            raise InputError(f"{path.name} has no column {name!r}; it has {', '.join(names)}{nearest(name, names)}")
    for count, row in enumerate(table, 1):
        if None in row:
            raise InputError(f"{path.name}: row {count} has more than the {len(names)} columns of the first line")
    if not table and not empty:
        raise InputError(f"{path.name} has no rows")
    return table


def numbers(table: Sequence[Mapping[str, str]], name: str, file: str) -> np.ndarray:
    """A column of finite numbers, [rows]. Raises InputError that names the first other one."""
    values = np.full(len(table), np.nan)
    for index, row in enumerate(table):
        try:
            values[index] = float(row[name])
        except (TypeError, ValueError):
            raise InputError(f"{file}: {name} is {row[name]!r} in row {index + 1}, no number") from None
    if not np.isfinite(values).all():
        first = int(np.argmin(np.isfinite(values)))
        count = int((~np.isfinite(values)).sum())
        raise InputError(
            f"{file}: {name} is {values[first]} in {count} of {len(values)} rows, first in row {first + 1}"
        )
    return values


def series(table: Sequence[Mapping[str, str]]) -> dict[str, np.ndarray]:
    """Metrics by name: (step, value), [rows, 2]. Raises InputError for what is no number."""
    found: dict[str, list[tuple[float, float]]] = {}
    for index, row in enumerate(table):
        try:
            found.setdefault(row["name"], []).append((float(row["step"]), float(row["value"])))
        except (TypeError, ValueError):
            raise InputError(f"metrics.csv: row {index + 1} is damaged") from None
    return {name: np.array(values) for name, values in found.items()}


def number(tree: Any, *keys: str) -> float:
    """A number inside nested mappings, nan where it is missing or none."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return float(tree) if isinstance(tree, int | float) else float("nan")


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted keys and text."""
    found: dict[str, str] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": text(value)}
    return found


def text(value: Any) -> str:
    """A setting as it is written on the command line."""
    if isinstance(value, list):
        return f"[{','.join(map(text, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
