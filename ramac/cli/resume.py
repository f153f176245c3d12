"""`ramac resume RUN`: go on with an interrupted run, wherever its command line is."""

import os
from pathlib import Path

from omegaconf import OmegaConf

from ramac.errors import InputError, nearest
from ramac.experiment.config import check, value_of
from ramac.experiment.folder import settings_of

USAGE = """ramac resume RUN [threads=N] [device=NAME] [save_every=N]   go on with an interrupted run

It ends with the numbers of a run that was never interrupted, bit for bit with the same threads on the same processor.
The same command as the first time does the same; a grid goes on with its own command."""
SETTINGS = ("threads", "device", "save_every", "save_last")


def command(arguments: list[str]) -> int:
    """Run `ramac resume ARGUMENTS`; returns the exit status. Raises InputError for what cannot be resumed."""
    from ramac.cli import execute

    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0
    run, changes = Path(arguments[0]), {}
    for change in arguments[1:]:
        key, equals, value = change.partition("=")
        if not equals or key not in SETTINGS:
            hint = nearest(key, SETTINGS)
            raise InputError(f"after a run folder resume takes {', '.join(SETTINGS)}; got {change!r}{hint}")
        changes[key] = value_of(key, value)
    if (run / "grid.json").exists():
        raise InputError(f"{run} is a grid: its own command, ramac -m ... grid_dir={run}, runs what is missing")
    settings = settings_of(run)
    if (run / "summary.json").exists():
        raise InputError(f"{run} is a finished run: there is nothing to go on with")
    if not os.access(run, os.W_OK):
        raise InputError(f"{run} cannot be written to")
    execute(check(OmegaConf.create({**settings, **changes, "run_dir": str(run)})))
    return 0
