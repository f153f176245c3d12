"""Paths in the settings of a run: stored absolute, so that it finds its data from any folder."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from os.path import abspath, exists, expanduser, isabs, isdir, join
from pathlib import Path

from ramac.data.kinds import ID
from ramac.data.sources import choose, parts
from ramac.errors import InputError
from ramac.experiment.config import RunConfig
from ramac.registry import tasks

HERE = (Path(),)


def located(config: RunConfig, folders: Sequence[Path] = HERE) -> RunConfig:
    """The configuration with absolute paths: of data and of a task's `paths`, where they exist in one of `folders`."""
    task, data = dict(config.task), config.data
    for key in getattr(tasks.get(str(task["name"])), "paths", ()):
        if isinstance(value := task.get(key), str) and (path := found(value, folders)):
            task[key] = path
    if data is not None:
        with suppress(InputError):  # of what no source reads: said where the data are needed
            data = "+".join(placed(part, folders) for part in parts(str(data)))
    given = {"run_dir": config.run_dir, "grid_dir": config.grid_dir}
    own = {key: expanduser(str(value)) for key, value in given.items() if value is not None}
    return replace(config, task=task, data=data, **own)


def placed(part: str, folders: Sequence[Path]) -> str:
    """One of the places that `+` joins, absolute where it is a path that exists."""
    name, place = choose(part)
    if ID.fullmatch(place) and not isdir(join(place, "data")):  # an id, though a folder may have its name
        return part
    path = found(place, folders[:1] if ID.fullmatch(place) else folders)
    if path is None:
        return part
    return path if place == part else f"{name}:{path}"


def found(place: str, folders: Sequence[Path]) -> str | None:
    """The absolute path of what exists in the first of these folders; None where it is in none of them."""
    paths = (abspath(join(folder, expanduser(place))) for folder in folders)
    return next((path for path in paths if exists(path)), None)


def around(run: Path) -> list[Path]:
    """Where a run of an older version, whose paths are relative, may have begun: here, or in a folder above its own."""
    return [Path(), *run.absolute().parents]


def refuse_lost(config: RunConfig, run: Path, command: str) -> None:
    """Refuse a run whose data are no longer where they were. Raises InputError."""
    for part in parts(str(config.data)) if config.data is not None else ():
        name, place = choose(part)
        path = expanduser(place)
        if not exists(path) and (isabs(path) or (name != "minari" and place == part)):
            looked = "" if isabs(path) else ", neither here nor in a folder above the run's"
            hint = f"ramac {command} {run} data=PLACE names their place"
            raise InputError(f"{run}: its data are not in {path}{looked}; {hint}")


def without_folders(config: RunConfig) -> RunConfig:
    """With the names alone of files and folders, for others to read."""
    task, data = dict(config.task), config.data
    for key in getattr(tasks.get(str(task["name"])), "paths", ()):
        if isinstance(task.get(key), str):
            task[key] = Path(task[key]).name
    if data is not None:
        try:
            places = [(part, choose(part)[1]) for part in parts(data)]
            data = "+".join(part.replace(place, Path(place).name) if isabs(place) else part for part, place in places)
        except InputError:  # of what no source reads any more
            data = Path(data).name
    return replace(config, task=task, data=data, run_dir=None, grid_dir=None)
