"""One cell of a grid, in whatever process a launcher runs it: a failure stays its own."""

import json
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ramac.claims import interrupted
from ramac.composed import check
from ramac.errors import InputError, RunStopped
from ramac.grid import claimed, note, write
from ramac.grid.cores import share_cores


def run(config: DictConfig, launcher: Any) -> None:
    """Train a cell unless it is done or another process is at it; a reason to fail is written into its folder."""
    from ramac.run import train

    share_cores(config, launcher)
    folder = Path(config.run_dir)
    with claimed(folder, patience=1) as mine:  # `ramac grid status` holds a cell for a moment
        if not mine:
            say(folder, "another process is at it")
            return
        if (folder / "summary.json").exists():
            return
        if (folder / "failed.json").exists() or not goes_on(folder, config):
            shutil.rmtree(folder, ignore_errors=True)
        note(folder, "started")
        began = time.perf_counter()
        try:
            summary = train(check(config), quiet=launcher.get("_target_", "").split(".")[-1] != "BasicLauncher")
        except Exception as error:
            kind = (
                "" if isinstance(error, InputError | FloatingPointError | RunStopped) else f"{type(error).__name__}: "
            )
            reason = f"{kind}{error}"
            fail(folder, reason, "" if isinstance(error, InputError) else traceback.format_exc())
            note(folder, "failed", time.perf_counter() - began)
            return
        note(folder, "done", time.perf_counter() - began)
    found = summary.get("estimate") or {"mean": summary["return_mean"], "cvar": summary["return_cvar"]}
    tail = ", ".join(f"CVaR {alpha} {value:.2f}" for alpha, value in found["cvar"].items())
    say(folder, f"mean {found['mean']:.2f}, {tail}; {summary['wall_seconds']:.0f} s")


def goes_on(folder: Path, config: DictConfig) -> bool:
    """Whether a folder holds this cell, interrupted."""
    try:
        return interrupted(folder, config)
    except InputError:
        return False


def fail(folder: Path, reason: str, trace: str) -> None:
    """Leave `failed.json` in a cell's folder, beside what it had written."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "failed.json", {"reason": " ".join(reason.split())})
    if trace:
        (folder / "traceback.txt").write_text(trace)
    say(folder, f"failed: {' '.join(reason.split())}")


def say(folder: Path, text: str) -> None:
    """One line on standard error."""
    print(f"{folder.name}: {text}", file=sys.stderr, flush=True)


def reason(folder: Path) -> str | None:
    """Why a cell failed; None when it did not."""
    try:
        return str(json.loads((folder / "failed.json").read_text())["reason"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"failed.json cannot be read: {error}"
