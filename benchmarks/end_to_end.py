"""From the command to the prompt: processor time of one run by stage, in fresh processes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import stages
from benchmarks.contenders import Row
from benchmarks.options import Settings
from benchmarks.timing import spread

RUN = ("recipe=td3bc", "task=hopper-medium-expert", "trainer.steps=2000")
TOTAL, WITHOUT = "in all", "in all without gradient steps"


def split(words: list[str]) -> dict[str, float]:
    """Seconds of processor time of one process by stage; both totals with the process's end."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "stages.json"
        command = [sys.executable, stages.__file__, str(out), *words, f"run_dir={folder}/run"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            said = process.stderr.read() if process.stderr else ""
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"ramac {' '.join(words)} ended with {process.returncode}: {said.strip()}")
        found: dict[str, float] = json.loads(out.read_text(encoding="utf-8"))
    total = usage.ru_utime + usage.ru_stime
    found[stages.END] = max(0.0, total - sum(found.values()))
    return {**found, TOTAL: total, WITHOUT: total - found.get("gradient steps", 0.0)}


def measure(settings: Settings) -> dict[str, list[Row]]:
    """Table `end_to_end`: a row per stage. The first process fills the system's cache and makes the dataset."""
    words = [*RUN[:2], "trainer.steps=20"] if settings.short else list(RUN)
    words += [f"threads={settings.threads}", f"device={settings.device.type}"]
    split(words)
    rounds = [split(words) for _ in range(1 if settings.short else 5)]
    names = sorted(rounds[0].keys() - {TOTAL, WITHOUT}, key=lambda name: -rounds[0][name])
    found = {name: [one.get(name, 0.0) for one in rounds] for name in [*names, TOTAL, WITHOUT]}
    return {"end_to_end": [{"stage": name, **spread("seconds", values)} for name, values in found.items()]}
