"""Start-up time of commands in fresh processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.contenders import Row
from benchmarks.options import Settings
from benchmarks.timing import spread

MAIN = "import sys; from ramac.cli import main; sys.argv = {words!r}; main()"
PROGRAMS = {
    "python -c pass": "pass",
    "import torch": "import torch",
    "import ramac": "import ramac",
    "ramac --help": MAIN.format(words=["ramac", "--help"]),
    "ramac list": MAIN.format(words=["ramac", "list"]),
}


def wait(program: str) -> float:
    """Seconds until a fresh interpreter has run this."""
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}, check=True, capture_output=True
    )
    return time.perf_counter() - started


def measure(settings: Settings) -> dict[str, list[Row]]:
    """Table `startup`: a row per command; files are in the system's cache."""
    found: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for turn in range(3 if settings.short else 8):
        for name, program in PROGRAMS.items():
            took = wait(program)
            if turn:  # the first turn fills the cache
                found[name].append(took)
    return {"startup": [{"command": name, **spread("seconds", values)} for name, values in found.items()]}
