"""The folder of a run: making it, and the files in it that grow row by row."""

import csv
import itertools
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ramac.errors import InputError
from ramac.registry import load
from ramac.system.files import PART
from ramac.system.untrusted import read_yaml, refuse_instructions

LOCK = ".lock"  # of the process that writes into a run's folder
EPISODE = ["episode", "return", "length", "risky_steps", "penalties"]  # columns of a csv file of episodes
# settings on which a run's numbers do not depend
ELSEWHERE = ("run_dir", "grid_dir", "sweep", "device", "threads", "seeds", "save_every", "save_last")
Row = Mapping[str, Any]


class Taken(InputError):
    """A folder that holds something else."""


def named(run_dir: Any) -> Path | None:
    """The folder that `run_dir` names, None where it names none. Raises InputError when it cannot be a folder."""
    if run_dir is None:
        return None
    if isinstance(run_dir, bool) or not isinstance(run_dir, str | int | float) or not str(run_dir).strip():
        raise InputError(f"run_dir must be the name of a new folder, got {run_dir!r}")
    folder = Path(str(run_dir))
    try:
        folder.exists()
    except (OSError, ValueError) as error:
        raise InputError(f"run_dir={folder} cannot be used: {getattr(error, 'strerror', error)}") from error
    return folder


def refuse_taken(folder: Path) -> None:
    """Refuse a folder that holds something; what a killed process began to write is nothing. Raises Taken."""
    try:
        files = [] if not folder.exists() else [folder] if folder.is_file() else folder.iterdir()
        taken = [path.name for path in files if not re.fullmatch(rf"{LOCK}|\..*{PART}", path.name)]
    except OSError as error:
        raise InputError(f"run_dir={folder} cannot be used: {error.strerror}") from error
    if taken:
        raise Taken(f"run_dir={folder} already holds something; name a new folder")


def numbered(label: str) -> Iterator[Path]:
    """Folders without a name of the user's: `runs/<label>`, `runs/<label>-2`, ..."""
    return (Path("runs", label if count == 1 else f"{label}-{count}") for count in itertools.count(1))


def make_folder(given: Path | None, label: str) -> Path:
    """Make the folder `given`, or the first free `runs/<label>`. Raises InputError when that fails."""
    folders = numbered(label)
    folder = next(folders) if given is None else given
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=given is not None)
            return folder
        except FileExistsError:  # another one's, perhaps made a moment ago
            folder = next(folders)
        except OSError as error:
            raise InputError(f"run folder {folder} cannot be made: {error.strerror}") from error


class Table:
    """A csv file that is written row by row and readable while the run goes on.

    With `size` it goes on after so many bytes, and what a run had written beyond them is cut off.
    """

    def __init__(self, path: Path, header: list[str], size: int | None = None) -> None:
        if size is not None:
            os.truncate(path, size)
        self.file = path.open("w" if size is None else "a", newline="")
        self.writer = csv.DictWriter(self.file, header)
        if size is None:
            self.writer.writeheader()

    def write(self, rows: Iterable[Row]) -> None:
        """Append rows."""
        self.writer.writerows(rows)
        self.file.flush()

    def size(self) -> int:
        """Bytes that are on the disk itself."""
        self.file.flush()
        os.fsync(self.file.fileno())
        return os.fstat(self.file.fileno()).st_size


def settings_of(run: Path) -> dict[str, Any]:
    """The configuration of a run folder, plain values only, whoever wrote it. Raises InputError when it is none."""
    path = run / "config.yaml"
    try:
        settings = read_yaml(path, run)
    except InputError as error:
        raise InputError(f"{run} is no run folder: {error}") from error
    refuse_instructions(path, settings)
    if missing := [key for key in ("task", "evaluation", "loss", "seed") if key not in settings]:
        raise InputError(f"{path} has no {' and no '.join(missing)}: no run of ramac")
    for key in ("task", "evaluation", "loss"):
        if not isinstance(settings[key], dict) or not all(isinstance(name, str) for name in settings[key]):
            raise InputError(f"{path}: {key} holds no settings, but {settings[key]!r}")
    load()  # plug-ins are modules that the reader chose
    environment = settings["task"].get("environment")
    module = str(environment).partition(":")[0]
    if ":" in str(environment) and module not in sys.modules:
        text = f"{path}: task.environment={environment!r} would run the module {module}"
        raise InputError(f"{text}; where you trust it: RAMAC_PLUGINS={module}")
    return settings
