"""What runs have logged so far: finished, failed, interrupted or still running."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ramac.errors import InputError
from ramac.experiment.config import flat
from ramac.experiment.folder import RunFolder
from ramac.reporting.columns import MEASURED, episodes_of
from ramac.reporting.runs import HEADLINE, Run, curves, run_folders, text
from ramac.system.untrusted import read_yaml


def folders_in(paths: Sequence[str | Path]) -> list[RunFolder]:
    """Run folders at any depth, each once. Raises InputError for a path that holds none."""
    found: dict[Path, RunFolder] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            raise InputError(f"no folder {str(path)!r}; plot takes run folders, or folders of them")
        inner = [folder for folder in run_folders(path) if (folder / "config.yaml").is_file()]
        if not inner:
            raise InputError(f"no run folder in {str(path)!r}; one has config.yaml and metrics.csv")
        for folder in inner:
            found.setdefault(folder.resolve(), RunFolder(folder))
    return list(found.values())


def logged(folder: RunFolder) -> Run:
    """A run with the metrics and episodes that it has logged, whether or not it has ended. Raises InputError."""
    settings = {text(key): text(value) for key, value in flat(read_yaml(folder.config_file, folder.path)).items()}
    finished = os.path.lexists(folder.summary_file)
    summary = folder.summary if finished else {}
    names = summary if finished else folder.config.names | {"seed": folder.config.seed}
    settings |= {key: text(value) for key, value in ({"recipe": "none"} | names).items() if key in HEADLINE}
    settings.setdefault("seed", "0")
    metrics = partial(curves, folder, growing=not finished) if filled(folder.metrics_file) else None
    return Run(str(folder), settings, episodes(folder, not finished), summary, metrics)


def episodes(folder: RunFolder, growing: bool) -> dict[str, np.ndarray]:
    """Evaluation episodes so far, none where there are none yet. Raises InputError."""
    if not filled(folder.episodes_file):
        return {name: np.empty(0) for name in MEASURED}
    return episodes_of(folder.episodes_file, folder.path, strict=False, growing=growing)


def filled(path: Path) -> bool:
    """Whether a file is there and a run has begun to write it: its first line comes with the first rows."""
    return os.path.lexists(path) and not (path.is_file() and path.stat().st_size == 0)
