"""One cell of a grid, in whatever process a launcher runs it: a failure stays its own."""

import json
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ramac.errors import InputError, RunStopped
from ramac.experiment.claims import interrupted
from ramac.experiment.config import check
from ramac.experiment.grid.cores import share_cores
from ramac.experiment.grid.folder import claimed, note
from ramac.system.files import write_json
from ramac.system.untrusted import read_json


def run(config: DictConfig, launcher: Any) -> None:
    """Train a cell unless it is done or another process is at it; a reason to fail is written into its folder."""
    from ramac.experiment.run import train

    share_cores(config, launcher)
    folder = Path(config.run_dir)
    with claimed(folder, patience=1) as mine:  # `ramac grid status` holds a cell for a moment
        if not mine:
            say(folder, "another process is at it")
            return
        if (folder / "summary.json").exists():
            return
        if not goes_on(folder, config):
            shutil.rmtree(folder, ignore_errors=True)
        (folder / "failed.json").unlink(missing_ok=True)
        note(folder, "started")
        began = time.perf_counter()
        try:
            summary = train(check(config), quiet=launcher.get("_target_", "").split(".")[-1] != "BasicLauncher")
        except Exception as error:
            kind = (
                "" if isinstance(error, InputError | FloatingPointError | RunStopped) else f"{type(error).__name__}: "
            )
            reason = f"{kind}{error}"
            trace = "" if isinstance(error, InputError | RunStopped) else traceback.format_exc()
            fail(folder, reason, trace, isinstance(error, RunStopped))
            note(folder, "failed", time.perf_counter() - began)
            return
        note(folder, "done", summary["wall_seconds"])
    found = summary.get("estimate") or {"mean": summary["return_mean"], "cvar": summary["return_cvar"]}
    tail = ", ".join(f"CVaR {alpha} {value:.2f}" for alpha, value in found["cvar"].items())
    say(folder, f"mean {found['mean']:.2f}, {tail}; {summary['wall_seconds']:.0f} s")


def goes_on(folder: Path, config: DictConfig) -> bool:
    """Whether a folder holds this cell, interrupted, and not failed for a reason of its own."""
    try:
        if (folder / "failed.json").exists() and not read_json(folder / "failed.json").get("goes_on"):
            return False
        return interrupted(folder, config)
    except InputError:
        return False


def fail(folder: Path, reason: str, trace: str, goes_on: bool) -> None:
    """Leave `failed.json` in a cell's folder, beside what it had written; whether the next attempt goes on from it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "failed.json", {"reason": " ".join(reason.split()), "goes_on": goes_on})
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
