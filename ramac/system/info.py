"""What a bug report needs: versions, machine, devices, plug-ins, folders. No part of it fails because another one does.

Heavy imports are inside functions, so that a broken one is reported in place of its section.
"""

import os
import platform
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

SHOWN = re.compile(  # variables whose values are no secrets; of others only the name is told
    r"RAMAC_(PLUGINS|CONFIG_DIR|CASES)|MINARI_DATASETS_PATH|D4RL_DATASET_DIR|\w+_NUM_THREADS|CUDA_VISIBLE_DEVICES|CUBLAS_WORKSPACE_CONFIG"
    r"|MUJOCO_GL|HYDRA_FULL_ERROR|MPLBACKEND|WANDB_MODE|MLFLOW_DISABLE_TELEMETRY|PYTHON(PATH|HASHSEED)"
)
NAMED = re.compile(
    r"(CUDA|CONDA|HF|HYDRA|KMP|LD|MKL|MLFLOW|NVIDIA|OMP|PYTHON|PYTORCH|RAMAC|RAY|SLURM|TORCH|WANDB)_?\w+"
)
REQUIREMENT = re.compile(r"""([\w.-]+)(?:\[([\w-]+)\])?[^;]*(?:;.*extra == ["']([\w-]+)["'])?""")
MEMORY = {"memory": "SC_PHYS_PAGES", "available": "SC_AVPHYS_PAGES"}


def information() -> dict[str, Any]:
    """Sections of plain data by title; a section that cannot be made is its error in one line. Home is shown as ~."""
    parts: dict[str, Callable[[], Any]] = {
        "ramac": program, "machine": machine, "torch": devices, "packages": packages, "plug-ins": plugins,
        "presets": presets, "data": data, "environment variables": variables,
    }  # fmt: skip
    found: dict[str, Any] = {}
    for title, part in parts.items():
        try:
            with warnings.catch_warnings(action="ignore"):
                found[title] = part()
        except (Exception, SystemExit) as error:  # whatever is broken here is what the report is about
            found[title] = failure(error)
    with suppress(RuntimeError):  # a user without a home folder
        return without_home(found, str(Path.home()))
    return found


def failure(error: BaseException) -> str:
    """An error in one line."""
    return f"not available: {' '.join(f'{type(error).__name__}: {error}'.split())}"


def without_home(value: Any, home: str) -> Any:
    """Plain data with ~ for the home folder."""
    if isinstance(value, Mapping):
        return {without_home(key, home): without_home(inner, home) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_home(inner, home) for inner in value]
    value = re.sub(r"//[^/@\s]+@", "//...@", value) if isinstance(value, str) else value  # a password of an address
    return re.sub(rf"{re.escape(home)}(?![\w.-])", "~", value) if isinstance(value, str) and home != "/" else value


def program() -> dict[str, str]:
    """ramac itself and the Python that runs it."""
    return {
        "version": metadata.version("ramac"), "place": str(Path(__file__).parents[1]), "command": sys.argv[0],
        "python": f"{platform.python_version()} ({platform.python_implementation()})", "executable": sys.executable,
        "working folder": str(Path.cwd()),
        "output": f"{'a terminal' if sys.stdout.isatty() else 'no terminal'}, {sys.stdout.encoding}",
    }  # fmt: skip


def machine() -> dict[str, str]:
    """System, processor and memory."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = {"platform": platform.platform(), "processor": platform.machine(), "cores": f"{os.cpu_count()}"}
    found["cores for this process"] = f"{usable}"
    for key, name in MEMORY.items():
        if name in getattr(os, "sysconf_names", {}):
            found[key] = f"{os.sysconf(name) * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB"
    return found


def devices() -> dict[str, str]:
    """What PyTorch can compute on."""
    import torch

    found = {"version": torch.__version__, "threads": str(torch.get_num_threads())}
    found["processor"] = torch.backends.cpu.get_cpu_capability()
    found["CUDA"] = f"built for {torch.version.cuda}" if torch.version.cuda else "not in this build"
    driver = Path("/proc/driver/nvidia/version")
    if driver.exists():
        found["driver"] = driver.read_text(encoding="utf-8").splitlines()[0]
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        found[f"cuda:{index}"] = f"{device.name}, {device.total_memory / 2**30:.1f} GiB, capability " + ".".join(
            map(str, (device.major, device.minor))
        )
    return found


def packages() -> dict[str, str]:
    """Versions of what ramac depends on; of optional packages that are absent, the extra that brings them."""
    found: dict[str, str] = {}
    for line in metadata.requires("ramac") or ():
        name, inner, extra = REQUIREMENT.match(line).groups()  # type: ignore[union-attr]
        if extra in ("test", "docs") or name == "ramac":
            continue
        name = inner if extra and inner else name  # gymnasium[mujoco] brings mujoco
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = f"not installed: pip install 'ramac[{extra}]'" if extra else "not installed"
    return found


def plugins() -> dict[str, str]:
    """Each plug-in, and whether it could be imported."""
    from ramac import registry

    origin = {point.value: point.dist for point in metadata.entry_points(group="ramac")}
    names = registry.plugins()
    if names:
        with suppress(Exception, SystemExit):  # told below, for each
            registry.load()  # a plug-in may not be imported before the entries that it builds on
    found: dict[str, str] = {}
    for name in names:
        dist = origin.get(name)
        where = f"{dist.name} {dist.version}" if dist else "$RAMAC_PLUGINS"
        try:
            import_module(name)
            found[name] = f"loaded, from {where}"
        except (Exception, SystemExit) as error:
            found[name] = f"skipped, from {where}: {failure(error).partition(': ')[2]}"
    return found


def presets() -> dict[str, str]:
    """The user's own files of settings."""
    if not (given := os.environ.get("RAMAC_CONFIG_DIR")):
        return {"$RAMAC_CONFIG_DIR": "not set"}
    folder = Path(given).absolute()
    if not folder.is_dir():
        return {str(folder): "no such folder"}
    files = sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.glob("*/*.yaml"))
    return {str(folder): ", ".join(files) or "empty"}


def data() -> dict[str, str]:
    """The folders that data are read from, and what they hold. ramac's own data are Minari datasets below `ramac`."""
    minari = Path(os.environ.get("MINARI_DATASETS_PATH") or "~/.minari/datasets").expanduser()
    d4rl = Path(os.environ.get("D4RL_DATASET_DIR") or "~/.d4rl/datasets").expanduser()
    return {
        f"Minari, {minari}": held(minari, "**/data", "datasets"),
        f"built by ramac, {minari / 'ramac'}": held(minari / "ramac", "**/data", "datasets"),
        f"D4RL, {d4rl}": held(d4rl, "**/*.hdf5", "files"),
    }


def held(folder: Path, pattern: str, kind: str) -> str:
    """How many datasets a folder has, and how large it is."""
    if not folder.is_dir():
        return "no such folder"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{sum(1 for _ in folder.glob(pattern))} {kind}, {size / 1e6:.1f} MB"


def variables() -> dict[str, str]:
    """Environment variables that matter here: values of harmless ones, of others that they are set."""
    relevant = {name: value for name, value in sorted(os.environ.items()) if SHOWN.fullmatch(name) or NAMED.match(name)}
    return {name: value if SHOWN.fullmatch(name) else "set" for name, value in relevant.items()}
