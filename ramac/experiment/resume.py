"""What is left to do: the configuration of an interrupted run, and which of several seeds are finished."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from ramac.errors import InputError
from ramac.experiment.config import RunConfig
from ramac.experiment.folder import RunFolder, Taken, numbered

SETTINGS = ("threads", "device", "save_every", "save_last")  # may change: the numbers do not depend on them


def config_to_resume(run: str | Path, changes: Mapping[str, Any]) -> RunConfig:
    """The configuration of an interrupted run, with other values of SETTINGS. Raises InputError."""
    folder = RunFolder(Path(run))
    if (folder.path / "grid.json").exists():
        text = f"{folder} is a sweep: its own command, ramac -m ... grid_dir={folder}"
        raise InputError(f"{text}, runs what is missing")
    config = folder.config
    if folder.summary_file.exists():
        raise InputError(f"{folder} is a finished run: nothing is left to do")
    if not os.access(folder.path, os.W_OK):
        raise InputError(f"{folder} cannot be written to")
    return replace(config, **changes, run_dir=str(folder))


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
