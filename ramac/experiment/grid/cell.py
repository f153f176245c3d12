"""One run of a sweep, in whatever process a launcher runs it: a failure stays its own."""

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
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
from ramac.system.files import write_json, write_traceback
from ramac.system.workers import QUIET, led
from ramac.text import say


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
    target = str(launcher.get("_target_", "")).split(".")[-1]
    with nullcontext() if target == "SlurmLauncher" else led():  # jobs of Slurm outlast the command
        return value(run_here(folder, config, target != "BasicLauncher"), config.path_of_objective)


def run_here(folder: RunFolder, config: RunConfig, quiet: bool) -> dict[str, Any]:
    """`run` in the process that it is given; returns the summary, empty where there is none."""
    try:
        lock = folder.hold()
    except Taken:
        tell(folder, "another process trains it")
        return {}
    with lock:
        if folder.summary_file.exists():
            return folder.summary
        if not worth_resuming(folder, config):
            folder.clear()
        folder.failure_file.unlink(missing_ok=True)
        try:
            (summary,) = train(config, quiet=quiet or QUIET in os.environ)
        except Exception as error:
            fail(folder, error)
            return {}
    tell(folder, told(summary))
    return summary


def told(summary: Mapping[str, Any]) -> str:
    """One line on a finished run."""
    if "failure" in summary:
        return f"failed: {summary['failure']['reason']}"
    found = summary.get("estimate") or {"mean": summary.get("return_mean"), "cvar": summary.get("return_cvar") or {}}
    numbers = {"mean": found["mean"], **{f"CVaR {alpha}": number for alpha, number in found["cvar"].items()}}
    there = [f"{name} {number:.2f}" for name, number in numbers.items() if number is not None]
    return f"{', '.join(there) or 'no result'}; {summary['wall_seconds']:.0f} s"


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
    tell(folder, f"failed: {reason}")
    with suppress(OSError):  # the disk may be full; without the file the run counts as interrupted
        if not isinstance(error, InputError | RunStopped):
            write_traceback(folder.traceback_file)
        write_json(folder.failure_file, {"reason": reason, "goes_on": isinstance(error, RunStopped)})


def tell(folder: RunFolder, line: str) -> None:
    """One line on standard error, unless the sweep is quiet."""
    if QUIET not in os.environ:
        say(f"{folder.path.name}: {line}", error=True)
