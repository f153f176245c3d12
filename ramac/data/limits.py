"""The size that a file announces, checked before memory is taken for it."""

import math
import os

from ramac.errors import InputError

ALWAYS = 2**28  # bytes that any file may announce: 256 MiB
RATIO = 100  # above it: bytes of arrays per byte of the file; logs of numbers compress less


def refuse_larger(announced: int, stored: int, kept: int | None = None) -> None:
    """Refuse arrays of `announced` bytes in a file of `stored` bytes. Raises InputError.

    `kept`: bytes of those that are read into memory; None: of all.

    A few bytes can announce any size: a compressed row of zeros, a chunk that was never written.
    """
    if announced > max(ALWAYS, RATIO * stored):
        raise InputError(f"arrays of {announced / 1e6:.0f} MB are announced by a file of {stored / 1e6:.3f} MB")
    if (needed := announced if kept is None else kept) > (free := available()):
        raise InputError(f"arrays of {needed / 1e6:.0f} MB do not fit into {free / 1e6:.0f} MB of memory")


def available() -> float:
    """Bytes of memory that this machine has; infinite where the system does not say (Windows has no `sysconf`)."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return math.inf
    return size if size > 0 else math.inf
