"""Tables as csv files: numbers to four digits, columns in the order of the rows' keys, written atomically."""

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def short(value: Any) -> Any:
    """A number with four significant digits, nothing for None."""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    return "" if value is None else value


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows to a temporary file, then rename it."""
    found = list(rows)
    names = list(dict.fromkeys(name for row in found for name in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: short(row.get(name)) for name in names} for row in found)
    os.replace(part, path)


def read(path: Path) -> list[dict[str, str]]:
    """Rows as they were written, all values as text."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
