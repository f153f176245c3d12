"""One run of a sweep, in whatever process a launcher runs it: a failure stays its own."""

import math
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ramac.errors import InputError, RunStopped
from ramac.experiment.config import RunConfig
from ramac.experiment.folder import RunFolder, Taken
from ramac.experiment.grid.folder import Cell, GridFolder
from ramac.experiment.objective import value
from ramac.experiment.run import train
from ramac.system.files import write_json


def placed(config: RunConfig, overrides: Sequence[str], sweep_dir: str) -> RunConfig:
    """With a folder, as a run of a sweep has it, where Hydra's own sweeper or another one has named none."""
    if config.run_dir is not None:
        return config
    grid, cell = GridFolder(Path(config.grid_dir or sweep_dir).absolute()), Cell.of(config, overrides)
    grid.add([cell])
    return replace(config, run_dir=str(grid.run(cell)))


def run(config: RunConfig, launcher: Any) -> float:
    """Train unless the run is finished or another process trains it; the reason of a failure goes into its folder.

    Returns the run's objective; nan where there is none.
    """
    folder = RunFolder(Path(str(config.run_dir)))
    if (threads := threads_of(launcher)) is not None and config.threads is None:  # a run sets its own `threads` itself
        torch.set_num_threads(threads)
    try:
        lock = folder.hold()
    except Taken:
        say(folder, "another process trains it")
        return math.nan
    with lock:
        if folder.summary_file.exists():
            return value(folder.summary, config.path_of_objective)
        if not worth_resuming(folder, config):
            folder.clear()
        folder.failure_file.unlink(missing_ok=True)
        try:
            (summary,) = train(config, quiet=launcher.get("_target_", "").split(".")[-1] != "BasicLauncher")
        except Exception as error:
            fail(folder, error)
            return math.nan
    say(folder, f"{numbers(summary)}; {summary['wall_seconds']:.0f} s")
    return value(summary, config.path_of_objective)


def numbers(summary: Mapping[str, Any]) -> str:
    """Mean and CVaR of a run's returns, or of their estimate."""
    found = summary.get("estimate")
    if found is None and "return_mean" not in summary:
        return "no estimate"
    found = found or {"mean": summary["return_mean"], "cvar": summary["return_cvar"]}
    return f"mean {found['mean']:.2f}, " + ", ".join(f"CVaR {alpha} {v:.2f}" for alpha, v in found["cvar"].items())


def threads_of(launcher: Any) -> int | None:
    """Threads of each process, so that the processes of a launcher share the cores; None for one process at a time.

    Ray and Slurm say how many cores each of their processes has.
    """
    target = str(launcher.get("_target_", ""))
    if "joblib" in target:
        cores, jobs = os.cpu_count() or 1, int(launcher.n_jobs)
        return max(1, cores // (jobs if jobs > 0 else max(1, cores + 1 + jobs)))  # joblib: -1 is one per core
    if "ray" in target:
        return max(1, int((launcher.get("ray") or {}).get("remote", {}).get("num_cpus", 1)))  # Ray's own default
    return int(launcher.get("cpus_per_task") or 1) if "submitit" in target else None


def worth_resuming(folder: RunFolder, config: RunConfig) -> bool:
    """Whether the folder holds this run, interrupted, and not failed for a reason of its own."""
    try:
        return not folder.fails_again and folder.resumable(config)
    except InputError:
        return False


def fail(folder: RunFolder, error: Exception) -> None:
    """Write `failed.json`, with whether the next attempt resumes, beside what the run has written."""
    known = isinstance(error, InputError | FloatingPointError | RunStopped)
    reason = " ".join(f"{'' if known else f'{type(error).__name__}: '}{error}".split())
    write_json(folder.failure_file, {"reason": reason, "goes_on": isinstance(error, RunStopped)})
    if not isinstance(error, InputError | RunStopped):
        folder.traceback_file.write_text(traceback.format_exc())
    say(folder, f"failed: {reason}")


def say(folder: RunFolder, text: str) -> None:
    """One line on standard error."""
    print(f"{folder.path.name}: {text}", file=sys.stderr, flush=True)
