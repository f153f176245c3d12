"""What is left to do: the configuration of an interrupted run, and which of several seeds are finished."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ramac.data import Dataset
from ramac.errors import InputError
from ramac.experiment import progress as states
from ramac.experiment.config import RunConfig, flat
from ramac.experiment.folder import RunFolder, Taken, numbered
from ramac.experiment.paths import located, refuse_lost
from ramac.experiment.problem import problem_of
from ramac.system.files import whole

NEUTRAL = ("threads", "device", "save_every", "save_last")  # the numbers do not depend on them
SETTINGS = (*NEUTRAL, "data", "task.horizon")  # may change: data that have moved, and where evaluation cuts an episode


def config_to_resume(run: str | Path, changes: Mapping[str, Any]) -> RunConfig:
    """The configuration of an interrupted run, with other values of SETTINGS. Raises InputError.

    A new place of the data and another horizon are written into its config.yaml.
    """
    folder, given = RunFolder(Path(run)), flat(changes)
    if (folder.path / "grid.json").exists():
        text = f"{folder} is a sweep: its own command, ramac -m ... grid_dir={folder}"
        raise InputError(f"{text}, runs what is missing")
    config = folder.config
    if folder.summary_file.exists():
        raise InputError(f"{folder} is a finished run: nothing is left to do")
    if not os.access(folder.path, os.W_OK):
        raise InputError(f"{folder} cannot be written to")
    other = changed(config, given)
    if other.data != config.data:
        if digest_of(folder) is None:
            raise InputError(f"{folder} has no training state, so no data to compare with: begin anew with run_dir=NEW")
        refuse_other_data(folder, problem_of(other)[1])
    refuse_lost(other, folder.path, "resume")
    if config.difference(other):
        with folder.hold(), whole(folder.config_file) as part:
            OmegaConf.save(OmegaConf.create(other.plain), part)
    return replace(other, **{key: given[key] for key in NEUTRAL if key in given}, run_dir=str(folder))


def changed(config: RunConfig, given: Mapping[str, Any]) -> RunConfig:
    """With another place of the data, and another horizon of the task. Raises InputError."""
    if "data" in given:
        config = moved(config, given["data"])
    if "task.horizon" in given:
        if "horizon" not in config.task:
            raise InputError(f"task={config.task['name']} has no horizon")
        config = RunConfig.of({**config.plain, "task": {**config.task, "horizon": given["task.horizon"]}})
    return config


def moved(config: RunConfig, data: Any) -> RunConfig:
    """With data in another place. Raises InputError."""
    if data is None:
        raise InputError("data= must name the place where the run's data are now")
    return located(replace(config, data=str(data)))


def digest_of(folder: RunFolder) -> str | None:
    """SHA-256 of the data of a finished run, or of its newest training state; None where neither is stored."""
    if folder.summary_file.exists():
        return folder.summary.get("data_sha256")
    steps = states.kept(folder)
    return states.progress_of(folder, steps[0]).data if steps else None


def refuse_other_data(folder: RunFolder, data: Dataset) -> None:
    """Refuse data that are not those of the run, where it has stored their digest. Raises InputError."""
    if digest_of(folder) not in (None, data.digest):
        raise InputError(f"{folder} was trained on other data than there are now ({data.origin})")


def refuse_taken(config: RunConfig) -> None:
    """Refuse a `run_dir` that holds anything but interrupted runs of this configuration. Raises InputError."""
    if config.run_dir is None:
        return
    if config.seeds is not None and RunFolder(Path(config.run_dir)).config_file.exists():
        text = f"run_dir={config.run_dir} already holds a run"
        raise Taken(f"{text}; seeds={config.seeds} makes folders below a new one")
    for single in config.singles:
        if config.seeds is None or finished(single) is None:
            RunFolder(Path(str(single.run_dir))).resumable(single)


def finished(config: RunConfig, data: Callable[[], str] | None = None) -> dict[str, Any] | None:
    """Summary, with `run_dir`, of a finished run of this configuration in the folders where it would be trained.

    None where there is none. `data`: digest of the transitions, which must then be the run's too.
    """
    for path in takewhile(Path.exists, numbered(config.name)) if config.run_dir is None else [Path(config.run_dir)]:
        folder = RunFolder(path)
        try:
            if not folder.summary_file.exists() or config.difference(folder.config):
                continue
            summary = folder.summary
        except InputError:  # a folder of somebody else, which the run will not take
            continue
        if data is None or summary.get("data_sha256") in (None, data()):  # version 0.1 did not write it
            return {**summary, "run_dir": str(folder)}
    return None
