"""Columns of csv files: numbers of metrics and episodes, whose faults are told by their row."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ramac.errors import InputError, nearest
from ramac.system.untrusted import read_csv

MEASURED = ("episode", "step", "return", "length", "risky_steps", "penalties")  # columns of episodes; others: settings


def episodes_of(path: Path, root: Path, strict: bool = True, growing: bool = False) -> dict[str, np.ndarray]:
    """The columns MEASURED that a run's csv file of episodes has: [episodes] each. Raises InputError."""
    found = columns(path, ("step", "episode", "return"), root, MEASURED, strict, growing)
    return {name: part for name, part in found.items() if name in MEASURED}


def columns(
    path: Path,
    needed: Sequence[str],
    root: Path | None,
    numeric: Sequence[str],
    strict: bool,
    growing: bool = False,
) -> dict[str, Any]:
    """Columns of a csv file by name, the `numeric` ones as arrays of floats, the others as text. Raises InputError.

    `strict` refuses a file without rows, nan and infinity. Rows of a wrong length are always refused: pandas.read_csv
    would shift or fill them without a word. `root`: the run folder that the file must lie in. `growing`: a run is
    writing it, so that it may lack the end of its last line.
    """
    names, lines = read_csv(path, root, growing)
    if growing and not names:
        names = list(needed)
    for name in needed:
        if name not in names:
            raise InputError(f"{path.name} has no column {name!r}; it has {', '.join(names)}{nearest(name, names)}")
    if strict and not lines:
        raise InputError(f"{path.name} has no rows")
    found = dict(zip(names, zip(*lines, strict=True) if lines else [()] * len(names), strict=True))
    return {name: checked(path, name, part, strict) if name in numeric else part for name, part in found.items()}


def checked(path: Path, name: str, cells: Sequence[str], strict: bool) -> np.ndarray:
    """A column of numbers: [rows]. Raises InputError for text, and if `strict` for nan and infinity."""
    values = numbers(cells)
    wrong = np.flatnonzero(~np.isfinite(values) if strict else np.isnan(values)).tolist()
    wrong = [row for row in wrong if strict or cells[row].lower() != "nan"]
    if wrong:
        raise InputError(
            f"{path.name}: {name} is {cells[wrong[0]]} in {len(wrong)} of {len(cells)} rows, first in row "
            f"{wrong[0] + 1}; it must be a {'finite ' * strict}number"
        )
    return values


def numbers(cells: Sequence[str]) -> np.ndarray:
    """Cells as floats, nan for text that pandas takes for no number: [rows]."""
    text = "".join(cells)
    if text.isascii() and "_" not in text:  # which float() would take: 1_000, digits of other scripts
        with suppress(ValueError):
            return np.array(list(map(float, cells)))
    return pd.to_numeric(pd.Series(cells, dtype=object), errors="coerce").to_numpy(float)
