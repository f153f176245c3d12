"""Which folder a run writes into: a new one, or its own where it was interrupted; held as long as the run lasts."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from ramac.errors import InputError
from ramac.experiment.folder import ELSEWHERE, LOCK, Taken, named, numbered, refuse_taken, settings_of
from ramac.system.untrusted import refuse_links


def flat(settings: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Settings by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= flat(value, f"{place}{key}.") if isinstance(value, Mapping) and value else {f"{place}{key}": value}
    return found


def difference(config: DictConfig, run: Path) -> str | None:
    """The first setting in which a run differs from a configuration, of those that its numbers depend on."""
    ours = flat(yaml.load(OmegaConf.to_yaml(config, resolve=True), yaml.CSafeLoader))
    theirs = flat(settings_of(run))
    for key in {**ours, **theirs}:
        if key.partition(".")[0] not in ELSEWHERE and (key in ours, ours.get(key)) != (key in theirs, theirs.get(key)):
            return f"{key}={theirs.get(key, 'none')}, not {ours.get(key, 'none')}"
    return None


def interrupted(folder: Path, config: DictConfig) -> bool:
    """Whether a folder holds a run of this configuration that has not ended, or else nothing.

    Raises Taken for anything else.
    """
    if not (folder / "config.yaml").is_file():
        refuse_taken(folder)
        return False
    if (folder / "summary.json").exists():
        raise Taken(f"run_dir={folder} already holds a finished run; name a new folder")
    try:
        refuse_links(folder)  # which would be written through
        other = difference(config, folder)
    except InputError as error:
        raise Taken(f"run_dir={folder} already holds something: {error}; name a new folder") from error
    if other:
        raise Taken(f"run_dir={folder} already holds another run, with {other}; name a new folder")
    return True


def refuse_others(config: DictConfig, cells: Iterable[DictConfig]) -> None:
    """Refuse a `run_dir` that holds something else than these `cells`, interrupted. Raises InputError."""
    if (folder := named(config.run_dir)) is None:
        return
    if config.seeds is not None and (folder / "config.yaml").exists():
        raise Taken(f"run_dir={folder} already holds a run; seeds={config.seeds} makes folders below a new one")
    for cell in cells:
        interrupted(Path(str(cell.run_dir)), cell)


def hold(folder: Path) -> FileLock:
    """Make a folder and take it for this process; the system frees that of a process that dies. Raises InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise Taken(f"run_dir={folder}: another process is at it") from None
    except OSError as error:
        raise InputError(f"run folder {folder} cannot be made: {error.strerror}") from error
    return lock


@contextmanager
def claim(config: DictConfig, label: str) -> Iterator[tuple[Path, bool]]:
    """Folder of a run while the block lasts, and whether an interrupted run goes on in it.

    It is `run_dir`, or the first of `runs/<label>`, `runs/<label>-2`, ... that is free or its own. Raises InputError.
    """
    given = named(config.run_dir)
    for folder in numbered(label) if given is None else [given]:
        lock = None
        try:
            interrupted(folder, config)  # before anything is written into a folder of others
            lock = hold(folder)
            goes_on = interrupted(folder, config)  # now that nobody else can change it
        except Taken:
            if lock is not None:
                lock.release()
            if given is not None:
                raise
            continue
        try:
            yield folder, goes_on
        finally:
            lock.release()
            if (folder / "summary.json").exists():
                (folder / LOCK).unlink(missing_ok=True)
        return
