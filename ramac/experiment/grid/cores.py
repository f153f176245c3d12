"""Processes of one machine get cores of their own, so that their threads do not fight."""

import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig


def share_cores(config: DictConfig, launcher: Any) -> None:
    """Set the number of threads: `threads`, or what the launcher's processes leave each other.

    joblib's workers are also pinned to their share; Ray and Slurm place processes themselves, and say how many cores
    each has.
    """
    import torch

    target = str(launcher.get("_target_", ""))
    if "joblib" in target:
        mine = pin(workers_of(int(launcher.n_jobs)))
    elif "ray" in target:
        mine = max(1, int((launcher.get("ray") or {}).get("remote", {}).get("num_cpus", 1)))  # Ray's own default
    elif "submitit" in target:
        mine = int(launcher.get("cpus_per_task") or 1)
    else:
        mine = None
    if mine is not None and config.get("threads") is None:  # the run itself sets those that are asked for
        torch.set_num_threads(mine)


def workers_of(n_jobs: int) -> int:
    """Processes that joblib starts: -1 is one per core, -2 one less."""
    cores = os.cpu_count() or 1
    return n_jobs if n_jobs > 0 else max(1, cores + 1 + n_jobs)


@cache
def pin(workers: int) -> int:
    """Keep this process, for its life, on one of `workers` equal shares of the cores; returns the share's size.

    A share is taken by a lock that the system frees when the process dies. With all shares taken (a second grid), or
    where the system cannot pin, only the size is used.
    """
    if not hasattr(os, "sched_setaffinity"):
        return max(1, (os.cpu_count() or 1) // workers)
    cores = sorted(os.sched_getaffinity(0))
    size = max(1, len(cores) // workers)
    folder = Path(tempfile.gettempdir(), f"ramac-cores-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    for first in range(0, size * min(workers, len(cores)), size):
        lock = FileLock(folder / f"{cores[first]}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        TAKEN.append(lock)
        os.sched_setaffinity(0, cores[first : first + size])
        break
    return size


TAKEN: list[Any] = []  # locks live as long as the process
