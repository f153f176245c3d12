"""The one style of all figures, and how they are saved."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.figure import Figure
from matplotlib.text import Text

from ramac.system.files import whole
from ramac.text import for_label

# Okabe and Ito's colours, in the order of ramac.mplstyle, and a grey for what is only a reference
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
BLUE, RED, ORANGE, GREY = COLOURS[0], COLOURS[1], COLOURS[4], "#777777"
COLUMN, TEXT = 3.25, 6.75  # inches: widths of a column and of the text in ICML's LaTeX style
TAIL = 0.1  # shaded share of worst episodes
STYLE: list[Any] = [
    "default",  # figures are the same whatever the user's matplotlibrc says
    str(Path(__file__).with_name("ramac.mplstyle")),
    {"text.parse_math": False},  # a $ in a setting is a dollar
]
styled = partial(matplotlib.style.context, STYLE)  # around a block, or before a function
DATES = {"pdf": "CreationDate", "svg": "Date"}  # left out of a file, so that the same numbers give the same file


@contextmanager
def missing_glyphs() -> Iterator[None]:
    """Draw a box for a letter that the font lacks, without a warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def save(figure: Figure, path: Path, kind: str = "png") -> None:
    """Write a figure as PNG, PDF or SVG, whatever the path ends in; whole or not at all. No text is a formula.

    Raises OSError that names the file.
    """
    for text in figure.findobj(Text):
        text.set(text="\n".join(map(for_label, text.get_text().split("\n"))), parse_math=False)
    date = {DATES[kind]: None} if kind in DATES else None
    with missing_glyphs(), whole(path) as part:
        figure.savefig(part, format=kind, metadata=date)
