"""Settings of the process: device, memory, versions, and the progress bar."""

import ctypes
import os
import platform
import socket
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from operator import index
from pathlib import Path
from typing import Any, SupportsIndex

import torch
from tensordict import TensorDict
from tqdm.auto import tqdm

from ramac.errors import InputError
from ramac.text import printable

PACKAGES = ["ramac", "torch", "tensordict", "torchrl", "diffusers", "torchdyn", "hydra-core", "minari"]
PACKAGES += ["gymnasium", "mujoco", "numpy"]
# a narrow terminal cuts the end of the line: the losses that follow, not the time left
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}, {remaining} left, {rate_noinv_fmt}{postfix}"


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
    """Let glibc reuse large blocks instead of mapping them again at each step (bandit, one core: 1.4 times faster).

    It lasts as long as the process, so only the command line calls it.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        m_trim_threshold, m_mmap_threshold = -1, -3
        libc.mallopt(m_mmap_threshold, 32 * 2**20)  # glibc's maximum
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


def process_settings(threads: int | None, deterministic: bool) -> None:
    """Set the threads of torch, and whether it refuses operations whose result changes from run to run."""
    if threads is not None:
        torch.set_num_threads(threads)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # required by cuBLAS
        torch.use_deterministic_algorithms(True)


@contextmanager
def restored() -> Iterator[None]:
    """Leave the process as it was: torch's generators, threads, deterministic mode, matmul precision, warnings."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    mode, workspace = torch.get_deterministic_debug_mode(), os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    form = warnings.formatwarning  # which `catch_warnings` leaves as a sweep has set it
    with torch.random.fork_rng(), warnings.catch_warnings():
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_float32_matmul_precision(precision)
            torch.set_deterministic_debug_mode(mode)
            warnings.formatwarning = form
            if workspace is None:
                os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


@contextmanager
def environment_variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables inside the block; afterwards all variables are as before."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for key in {*os.environ, *before}:
            if key not in before:
                del os.environ[key]
            elif os.environ.get(key) != before[key]:
                os.environ[key] = before[key]


@contextmanager
def seeded(seed: Any, device: torch.device) -> Iterator[None]:
    """Draw from a stream of this seed inside the block; torch's global generators are left alone.

    With None, draw from the global generators. Raises InputError for a seed that is not a whole number from 0.
    """
    if seed is None:
        yield
        return
    if not (isinstance(seed, SupportsIndex) and 0 <= index(seed) < 2**63):
        raise InputError(f"seed must be a whole number from 0, got {seed!r}")
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(index(seed))
        yield


class ProgressBar(tqdm):
    """A bar whose speed and time left are those of the steps themselves, of this process, without its pauses."""

    def __iter__(self) -> Iterator[Any]:
        """Each step counts once it is made: what follows it (a log, an evaluation) sees it counted."""
        try:
            for item in self.iterable:
                self.update()
                yield item
        finally:
            self.close()

    @contextmanager
    def paused(self, reason: str) -> Iterator[None]:
        """A block that is no step, such as an evaluation; a terminal shows why the bar stands."""
        if self.disable:
            yield
            return
        postfix, began = self.postfix, self.format_dict["elapsed"]
        if interactive():
            self.set_postfix_str(reason)
        try:
            yield
        finally:
            seconds = self.format_dict["elapsed"] - began
            self.start_t, self.last_print_t = self.start_t + seconds, self.last_print_t + seconds
            self.postfix = postfix


def interactive() -> bool:
    """Whether a line on standard error can be replaced: on a terminal, or in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def progress_bar(
    steps: Iterable[TensorDict], total: int, label: str, quiet: bool = False, initial: int = 0
) -> ProgressBar:
    """The gradient steps with a bar: twice a second on a terminal or in a notebook, twice a minute in a log file.

    `initial`: how many of the `total` were done in an earlier process.
    """
    pause = 0.5 if interactive() else 30
    settings: dict[str, Any] = {"total": total, "initial": initial, "desc": printable(label), "mininterval": pause}
    return ProgressBar(steps, unit=" steps", bar_format=BAR, file=sys.stderr, disable=quiet, **settings)


def numerics(device: torch.device) -> dict[str, str]:
    """What can change floating-point rounding: device, threads, processor, versions."""
    machine = {"device": str(device), "threads": str(torch.get_num_threads())}
    return {**machine, "processor": torch.backends.cpu.get_cpu_capability(), **versions(["ramac", "torch"])}


def host() -> str:
    """This machine, and on a Ray cluster the node: several nodes may share a machine."""
    ray = sys.modules.get("ray")
    node = f"/{ray.get_runtime_context().get_node_id()[:8]}" if ray and ray.is_initialized() else ""
    return socket.gethostname() + node


def environment() -> str:
    """What a bug report needs: versions, machine, command."""
    command = printable(" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]))
    lines = [f"command: {command}", f"python: {platform.python_version()}"]
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
