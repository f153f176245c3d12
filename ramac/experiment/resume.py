"""The configuration with which an interrupted run is resumed."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ramac.errors import InputError
from ramac.experiment.config import RunConfig
from ramac.experiment.folder import RunFolder

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
