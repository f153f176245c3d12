"""The cells of a sweep: which there are, which are missing, and their launch."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from ramac.agent import Acting
from ramac.cli import composition_error
from ramac.errors import InputError
from ramac.experiment.folder import ELSEWHERE
from ramac.experiment.grid.folder import cells, claimed
from ramac.experiment.grid.status import show
from ramac.experiment.recorder import name_of
from ramac.experiment.run import refuse_numbers
from ramac.system.files import write_json

DEVICE = r"auto|cpu|cuda(:\d+)?"


def digest(content: Any) -> str:
    """Eight hexadecimal digits that stand for plain data."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:8]


def cell_name(config: DictConfig) -> str:
    """Folder of a configuration, the same whenever the configuration is: its label and a digest of all settings.

    Raises InputError when an entry refuses its arguments so that not even a label can be made.
    """
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return f"{name_of(config)}-{digest({k: v for k, v in plain.items() if k not in (*ELSEWHERE, 'hydra')})}"


def combinations(sweeper: Any, arguments: list[str]) -> list[list[str]]:
    """Overrides of every cell."""
    loader = sweeper.hydra_context.config_loader
    given = [f"{key}={value}" for key, value in sweeper.params.items()] + arguments
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(given)
    return sweeper.split_arguments(parsed, None)[0]


def refuse_swept(asked: list[list[str]]) -> None:
    """Refuse several values of a setting that makes no other cell. Raises InputError."""
    for key in ELSEWHERE:
        pairs = (override.partition("=") for overrides in asked for override in overrides)
        values = dict.fromkeys(value for name, _, value in pairs if name.lstrip("+") == key)
        if len(values) > 1:
            here = "is one run's; a grid takes grid_dir=FOLDER" if key == "run_dir" else "makes no cells; choose one"
            raise InputError(f"{key}={','.join(values)} {here}")


def refuse_settings(config: DictConfig) -> None:
    """Refuse what no run takes, whatever its entries: a slip, as an unknown entry is. Raises InputError."""
    if config.seeds is not None:
        raise InputError(f"seeds={config.seeds} is for one run; in a grid each seed is a cell: seed=0,1,2")
    refuse_numbers(config)
    if not re.fullmatch(DEVICE, str(config.device)):  # whether it is here, only the cell's machine knows
        raise InputError(f"device={config.device} cannot be used; choose auto, cpu, cuda or cuda:NUMBER")
    for key in ("candidates", "mode"):
        Acting.of({key: config[key]})
    Acting.of({"candidates": 2, "temperature": config.temperature})


def plan(sweeper: Any, asked: list[list[str]]) -> list[dict[str, Any]]:
    """One record per cell: its overrides and its folder's name, or why its configuration cannot be composed.

    Raises InputError for an entry that does not exist or a setting that no run takes: a slip, which no other cell
    should wait for.
    """
    records: dict[str, dict[str, Any]] = {}
    composed: list[DictConfig] = []
    for overrides in asked:
        try:
            config = sweeper.hydra_context.config_loader.load_sweep_config(sweeper.config, overrides)
            name = cell_name(config)
            record = {"overrides": overrides, "cell": name}
            composed.append(config)
        except (HydraException, OmegaConfBaseException, InputError) as error:
            reason = str(error) if isinstance(error, InputError) else said(error, overrides)
            if "Could not" in str(error) and "Could not override" not in str(error):
                raise InputError(reason) from error
            name, record = digest(overrides), {"overrides": overrides, "cell": None, "refused": reason}
        records.setdefault(name, record)  # two ways to write the same cell are one
    for config in composed:
        refuse_settings(config)
    return list(records.values())


def add(grid: Path, records: list[dict[str, Any]]) -> None:
    """Write cells into `grid.json` beside those that are there; of several commands one waits for the other.

    Raises InputError when the folder cannot be used.
    """
    try:
        grid.mkdir(parents=True, exist_ok=True)
        with claimed(grid / "grid.json", patience=60) as mine:
            if not mine:
                raise InputError(f"grid_dir={grid}: another command has held grid.json for a minute")
            before = cells(grid) if (grid / "grid.json").exists() else []
            known = {record["cell"] or digest(record["overrides"]): record for record in [*before, *records]}
            write_json(grid / "grid.json", {"cells": list(known.values())})
    except OSError as error:
        raise InputError(f"grid_dir={grid} cannot be used: {error.strerror}") from error


def quoted(text: str) -> str:
    """Text as one value of Hydra's grammar, whatever a folder is called."""
    return "'" + re.sub(r"(\\*)'", r"\1\1\\'", text) + "'"


def said(error: Exception, overrides: list[str]) -> str:
    """A composition error in one line."""
    try:
        return composition_error(error, overrides)
    except InputError as found:
        return str(found)


def sweep(sweeper: Any, arguments: list[str]) -> None:
    """Run what is missing of a grid and show how it stands. Raises InputError, SystemExit(1) when a cell failed."""
    config = sweeper.config
    if config.run_dir is not None:
        raise InputError(f"run_dir={config.run_dir} is one run's; a grid takes grid_dir=FOLDER")
    asked = combinations(sweeper, arguments)
    refuse_swept(asked)
    name = "-".join(["grid", *([str(config.sweep)] if config.get("sweep") else []), digest(sorted(map(sorted, asked)))])
    grid = Path(config.grid_dir or Path("runs", name)).absolute()
    if (grid / "config.yaml").exists():
        raise InputError(f"grid_dir={grid} is a run's folder; name a new one or a grid's")
    records = plan(sweeper, asked)
    if all(record["cell"] is None for record in records):
        raise InputError(records[0]["refused"])
    add(grid, records)
    missing = [r for r in records if r["cell"] and not (grid / r["cell"] / "summary.json").exists()]
    print(f"grid: {len(records)} cells, {len(missing)} to run, in {grid}", flush=True)
    with flag_override(config, ["struct", "readonly"], [False, False]):
        config.hydra.sweep.dir = str(grid)
    died = None
    if missing:
        jobs = [[*record["overrides"], f"run_dir={quoted(str(grid / record['cell']))}"] for record in missing]
        try:
            for result in sweeper.launcher.launch(jobs, initial_job_idx=0):
                _ = result.return_value  # raises what a cell could not catch
        except Exception as error:  # a worker that was killed, a cluster that is gone
            died = f"{type(error).__name__}: {' '.join(str(error).split())}"
    failed = show(grid)
    if died:
        print(f"the launcher stopped: {died}; the same command again runs what is missing")
    if died or failed:
        raise SystemExit(1)
