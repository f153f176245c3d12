"""ramac demo [FOLDER]: compose a run, train a small grid, compare its runs in a report; two minutes on 2 cores

Each command is printed before it is run, as you would type it. FOLDER is demo/ unless it is named. After Ctrl-C the
same command continues: runs that are there are not trained again.
"""

import shlex
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from ramac import cli
from ramac.errors import InputError
from ramac.experiment.following import command, setting
from ramac.experiment.grid.folder import GridFolder
from ramac.text import say

FOLDER, USAGE = "demo", "ramac demo [FOLDER]"
SHORT = ("trainer.steps=1200", "trainer.batch_size=64", "threads=1")  # 20 s a run on one core
COMPARED = ("actor=flow,gaussian", "risk=neutral,cvar0.1", "seed=0,1")
EXPLAINED = {
    "compose": "A run is one word for each part. With --explain nothing is trained; it shows what each loss term does.",
    "grid": "With -m, values with commas are a sweep: 2 actors x 2 measures of risk x 2 seeds on the risky bandit.",
    "report": "Tables, intervals and figures of all runs on one page, grouped by actor and risk.",
}
WATCHED = "It takes a minute or two. In another terminal you can watch it: "


def main(arguments: list[str]) -> int:
    """Run the commands of the demo, and end where one has a status. Raises InputError, and what they raise."""
    if wrong := [word for word in arguments if "=" in word or word.startswith("-")]:
        raise InputError(f"demo takes no settings, got {wrong[0]!r}: {USAGE}")
    if len(arguments) > 1:
        raise InputError(f"demo takes one folder, got {len(arguments)}: {USAGE}")
    folder = Path(arguments[0] if arguments else FOLDER)
    refuse_other(folder)
    shown = commands(str(folder), find_spec("hydra_plugins.hydra_joblib_launcher") is not None)
    for number, (name, line) in enumerate(shown.items(), 1):
        watched = [WATCHED + command("grid", "status", str(folder), "--watch")] if name == "grid" else []
        say(f"{number} of {len(shown)}: {name}", EXPLAINED[name], *watched)
        say(f"$ {line}", bold=line)
        if status := run(shlex.split(line)[1:]):
            return status
        say("")
    say(f"The report is {folder / 'report' / 'index.html'}; ramac alone is a longer run of the same task.")
    return 0


def run(words: Sequence[str]) -> int:
    """The command line `ramac WORDS` in this process; returns its exit status. Raises what it raises."""
    name, rest = cli.chosen(list(words))
    return import_module(f"ramac.cli.{name}").main(rest)


def commands(folder: str, joblib: bool) -> dict[str, str]:
    """The commands by what they show; `joblib`: whether its launcher is there, with a process for each core."""
    launcher = ["hydra/launcher=joblib"] * joblib
    return {
        "compose": command("actor=flow", "critic=iqn", "risk=cvar0.1", "task=bandit", "--explain"),
        "grid": command("-m", *COMPARED, *SHORT, *launcher, setting("grid_dir", folder)),
        "report": command("report", folder, "--by", "actor,risk"),
    }


def refuse_other(folder: Path) -> None:
    """Refuse a folder that holds anything but an earlier demo. Raises InputError."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    grid = GridFolder(folder)
    if not grid.list_file.exists() or not all({*SHORT} <= {*cell.overrides} for cell in grid.cells):
        raise InputError(f"{folder} holds something else than a demo; name a new folder: {USAGE}")
