"""A finished run as a folder to share: weights, configuration, results and a model card."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ramac.checkpoint import load
from ramac.deploy.card import card
from ramac.errors import InputError
from ramac.experiment.folder import RunFolder
from ramac.experiment.paths import without_folders
from ramac.system.files import PART, alone, refuse_taken, synchronise
from ramac.system.paths import refuse_unsafe
from ramac.system.untrusted import LONG_JSON_BYTES, read_json

LOCAL = ("host",)  # of summary.json: a name of this machine


def pack(run: str | Path, out: str | Path) -> Path:
    """Write the finished run's policy to the new folder `out`, which `ramac.load` reads; returns it.

    It is itself a run folder, without what is known of this machine. Raises InputError before anything is written.
    """
    folder, target = RunFolder(Path(run)), Path(out)
    refuse_taken(target, "folder")
    if not os.path.isdir(folder.path):
        raise InputError(f"{run} is no run folder: {folder.config_file} does not exist")
    if target.resolve().is_relative_to(folder.path.resolve()):
        raise InputError(f"{target} is inside {run}; name a folder beside it")
    config = folder.config
    if not folder.summary_file.is_file():
        raise InputError(f"{run} is unfinished, it has no summary.json: ramac resume {run}")
    summary = {key: value for key, value in folder.summary.items() if key not in LOCAL}
    refuse_unsafe(folder.path)
    load(folder.path)  # refuses what is damaged
    versions = read_json(folder.checkpoint / "agent.json", folder.path, LONG_JSON_BYTES).get("versions") or {}
    shared = without_folders(config)
    if config.data is not None and "data" in summary:
        summary["data"] = str(summary["data"]).replace(config.data, str(shared.data))
    try:
        results = json.dumps(summary, indent=2, allow_nan=False) + "\n"
    except ValueError as error:
        raise InputError(f"{folder.summary_file} has a number that is not finite: {error}") from error
    files = {
        "README.md": card(shared, summary, versions),
        "config.yaml": yaml.safe_dump(shared.plain, sort_keys=False, allow_unicode=True),
        "summary.json": results,
    }
    with alone(target):
        write(target, folder, files)
    return target


def write(target: Path, folder: RunFolder, files: Mapping[str, str]) -> None:
    """Write the texts `files`, and copies of the run's checkpoint and episodes. Raises InputError."""
    part = target.with_name(f".{target.name}{PART}")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        for name, text in files.items():
            (part / name).write_text(text, encoding="utf-8")
        (part / "checkpoint").mkdir()
        for name in ("agent.json", "agent.safetensors"):  # and nothing else that lies there
            shutil.copy(folder.checkpoint / name, part / "checkpoint")
        if folder.episodes_file.is_file():
            shutil.copy(folder.episodes_file, part)
        load(part)
        for path in (*part.rglob("*"), part):
            synchronise(path)
        part.rename(target)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def described(folder: Path) -> dict[str, Any]:
    """Name and size in bytes of each file of a packed run."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}
