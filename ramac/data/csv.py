"""csv files as columns of numbers: a header and one row per step."""

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ramac.data import roles
from ramac.errors import InputError

MOST_CHOICES = 20  # distinct whole numbers from 0 up, our own bound; more of them, or negative ones, are amounts
ENCODING = "utf-8-sig"  # with or without the mark of byte order that Excel writes


def separator(path: Path) -> str:
    """Comma, semicolon or tab: the one that the header has most of, outside quotes."""
    with path.open(encoding=ENCODING) as file:
        head = re.sub(r'"[^"]*"', "", file.readline(2**20))
    return max(",;\t", key=head.count)


def csv_names(path: Path) -> list[str]:
    """Names of the columns of a csv file. Raises InputError for a name twice, and for rows longer than the header."""
    import pandas as pd  # half a second, which other sources need not wait for

    sign = separator(path)
    with path.open(encoding=ENCODING, newline="") as file:
        rows = filter(None, csv.reader(file, delimiter=sign, skipinitialspace=True))  # without empty lines
        head, first = next(rows, []), next(rows, [])
    written = [name.strip() for name in head]
    if again := [name for name in written if name and written.count(name) > 1]:
        raise InputError(f"two columns have the name {again[0]!r}")
    if len(first) > len(head):
        raise InputError(
            f"row 0 has {len(first)} values for {len(head)} names of columns; name every column (R writes row names"
            " without one: row.names=FALSE)"
        )
    return list(map(str, pd.read_csv(path, nrows=0, **options(sign)).columns))


def csv_columns(path: Path, names: list[str], columns: Mapping[str, Any] | None) -> dict[str, Any]:
    """Columns of a csv file; an action of amounts that are written without a point as floats. Raises InputError."""
    import pandas as pd

    table = pd.read_csv(path, **options(separator(path)))  # of chosen columns alone, pandas accepts rows of any length
    found = {name: table[name] for name in names}
    for name in roles.find(map(str, table.columns), columns, (), ended=True).get("actions", ()):
        values = found[name]
        if values.dtype.kind in "iu" and (values.min() < 0 or values.nunique() > MOST_CHOICES):
            found[name] = values.astype(np.float64)
    return found


def options(sign: str) -> dict[str, Any]:
    """How pandas is to read a csv file."""
    return {"sep": sign, "encoding": ENCODING, "skipinitialspace": True, "low_memory": False}
