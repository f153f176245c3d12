"""docs/results/speed.md: the tables between its markers are made from the csv files.

Other tables of the page answer settled questions: their parts are gone, their figures stay.
"""

import re
from collections.abc import Callable
from pathlib import Path

from benchmarks import markdown
from benchmarks.markdown import Rows
from benchmarks.tables import read

PAGE = Path(__file__).parents[1] / "docs/results/speed.md"

TABLES: dict[str, tuple[str, Callable[[Rows], str]]] = {
    "machine": ("recipes", markdown.machine),
    "recipes": ("recipes", markdown.recipes),
    "cells": ("cells", markdown.cells),
    "acting": ("acting", markdown.acting),
    "dataset": ("dataset", markdown.dataset),
    "startup": ("startup", markdown.startup),
    "end_to_end": ("end_to_end", markdown.end_to_end),
    "precision": ("precision", markdown.precision),
    "captured": ("captured_cpu", markdown.captured),
    "peers": ("peers", markdown.peers),
    "captured on a GPU": ("captured_cuda", markdown.captured),
    "parts": ("parts", markdown.shares("part")),
    "operators": ("operators", markdown.shares("operator")),
}


def filled(text: str, results: Path) -> str:
    """The page with the tables of those csv files that are there; the rest of it stays as it is."""
    for name, (file, table) in TABLES.items():
        path = results / f"{file}.csv"
        if path.exists():
            pattern = rf"(<!-- table: {name} -->\n).*?(<!-- end -->)"
            content = table(read(path))
            text = re.sub(pattern, lambda found, new=content: f"{found[1]}\n{new}\n\n{found[2]}", text, flags=re.S)
    return text


def update(results: Path) -> None:
    """Write the tables into the page."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
