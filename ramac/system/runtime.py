"""Settings of the process: device, memory, versions, and the progress bar."""

import ctypes
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict
from tqdm import tqdm

from ramac.errors import InputError

PACKAGES = ["ramac", "torch", "tensordict", "torchrl", "diffusers", "torchdyn", "hydra-core", "minari"]
PACKAGES += ["gymnasium", "mujoco", "numpy"]


def device_of(name: str) -> torch.device:
    """`auto` is the GPU where there is one. Raises InputError for a device that is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
        if device.type not in ("cpu", "cuda"):  # evaluation keeps the generators of these apart
            raise RuntimeError(device.type)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(f"device={name} cannot be used here; choose auto, cpu or cuda") from error
    return device


def keep_memory() -> None:
    """Let glibc reuse large blocks instead of mapping them anew in each update (bandit, one core: 1.4 times faster)."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        m_trim_threshold, m_mmap_threshold = -1, -3
        libc.mallopt(m_mmap_threshold, 32 * 2**20)  # the largest that glibc takes
        libc.mallopt(m_trim_threshold, 2**30)


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Run float32 matmuls at this precision inside the block. `highest` changes nothing."""
    before = torch.get_float32_matmul_precision()
    if precision != "highest":
        torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def progress(
    updates: Iterable[TensorDict], total: int, label: str, quiet: bool = False, before: int = 0
) -> "tqdm[TensorDict]":
    """The updates, with a bar on standard error: twice a second on a terminal, twice a minute in a log file.

    `before`: how many of the `total` were made in an earlier process.
    """
    pause = 0.5 if sys.stderr.isatty() else 30
    settings: dict[str, Any] = {"total": total, "initial": before, "desc": label, "mininterval": pause}
    return tqdm(updates, unit="update", file=sys.stderr, disable=quiet, **settings)


def environment() -> str:
    """What a bug report needs: versions, machine, command."""
    lines = [f"command: {' '.join([Path(sys.argv[0]).name, *sys.argv[1:]])}", f"python: {platform.python_version()}"]
    lines += [f"platform: {platform.platform()}", f"cores: {os.cpu_count()}, threads: {torch.get_num_threads()}"]
    lines += [f"{package}: {number}" for package, number in versions().items()]
    return "\n".join(lines) + "\n"


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Versions of packages, `not installed` where there is none."""
    found: dict[str, str] = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
