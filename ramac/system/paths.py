"""Paths in folders that others may have made: no link out of the folder, and nothing but regular files."""

import os
import stat
from pathlib import Path

from ramac.errors import InputError


def inside(path: Path, root: Path) -> Path:
    """The path itself, which lies in `root` after links are resolved; it need not exist. Raises InputError."""
    try:
        within = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError) as error:  # a circle of links, a name that no file can have
        raise InputError(f"{path} cannot be used: {getattr(error, 'strerror', None) or error}") from error
    if not within:
        raise InputError(f"{path} is a link out of {root}: it is not followed")
    return path


def regular(path: Path, root: Path | None = None) -> Path:
    """The path itself, a regular file, in `root` where it is given. Raises InputError."""
    if root is not None:
        inside(path, root)
    try:
        kind = path.stat().st_mode  # before it is opened: opening a device can act, and opening a pipe waits
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(kind):
        raise InputError(f"{path} is not a regular file")
    return path


def refuse_unsafe(folder: Path) -> None:
    """Refuse to write into a folder that holds a link out of it, or anything but files and folders.

    The folder itself may be a link: who names it chose that. Raises InputError.
    """
    for place, folders, files in os.walk(folder):  # it does not go through links
        for path in (Path(place, name) for name in (*folders, *files)):
            kind = path.lstat().st_mode
            if stat.S_ISLNK(kind):
                inside(path, folder)
            elif not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):  # writing to a pipe would wait
                raise InputError(f"{path} is not a regular file")
