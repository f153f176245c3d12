"""Curves drawn in a terminal."""

from collections.abc import Mapping
from typing import Any, TextIO

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from ramac.plotting import COLOURS
from ramac.text import console, for_terminal, shortened

HEIGHT, WIDEST = 15, 100  # lines of a panel, and the most characters across
LETTERS = "ABCDEFGHIJKLMN"  # lines of their own where there are no colours
PLAIN = str.maketrans("┌┐└┘├┤┬┴┼─│", "+" * 9 + "-|")  # frames for a terminal without Unicode


def draw(panels: Mapping[str, Mapping[str, pd.Series]], xlabel: str, stream: TextIO) -> None:
    """Print one panel per title: its lines by label, over the index of each.

    Without colours (NO_COLOR, no terminal) several lines are told apart by letters, without Unicode all is ASCII.
    """
    from rich.text import Text

    screen = console(stream)
    coloured = screen.color_system is not None and not screen.no_color
    unicode = encodes(stream, "⠿─│●")
    labels = list(dict.fromkeys(label for lines in panels.values() for label in lines))
    marks = {label: mark(place, coloured, unicode, len(labels)) for place, label in enumerate(labels)}
    for title, lines in panels.items():
        found = panel(title, {marks[label]: line for label, line in lines.items()}, xlabel, min(screen.width, WIDEST))
        found = found.rstrip("\n") if unicode else found.rstrip("\n").translate(PLAIN)
        screen.print(Text.from_ansi(found), soft_wrap=True)
    for label in labels if len(labels) > 1 else ():
        symbol, colour = marks[label]
        sign = symbol if len(symbol) == 1 else "●"
        screen.print(Text(f"  {sign} {for_terminal(shortened(label), stream)}", colour or ""), soft_wrap=True)


def mark(place: int, coloured: bool, unicode: bool, count: int) -> tuple[str, str]:
    """Marker and colour of a line: dots of Braille in a colour, or a letter."""
    if unicode and (coloured or count == 1):
        colour = COLOURS[place % len(COLOURS)]
        return "braille", colour if coloured and colour != "#000000" else ""  # black is unseen on black
    return (LETTERS[place % len(LETTERS)] if count > 1 else "*"), ""


def panel(title: str, lines: Mapping[tuple[str, str], pd.Series], xlabel: str, width: int) -> str:
    """One panel as text, with codes for colours where there are colours."""
    import plotext  # only where a terminal is drawn in

    figure: Any = plotext.figure
    figure.clear()
    figure.theme("simple")
    for (symbol, colour), values in lines.items():
        values = values[np.isfinite(values)]
        pixel = tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5)) if colour else None
        signal = figure.signal(values.index.tolist(), values.tolist(), marker=plotext.marker(symbol, pixel))
        figure.draw(signal.lines())
    places = [place for values in lines.values() for place in values.index]
    ticks = [t for t in MaxNLocator(5).tick_values(min(places), max(places)) if min(places) <= t <= max(places)]
    ticks = ticks if len(set(places)) > 1 else places[:1]
    figure.ruler("x").ticks(ticks, [f"{tick:g}" for tick in ticks])
    figure.plot_size(width, HEIGHT)
    figure.title(shortened(for_terminal(title), 60))
    figure.label(xlabel)
    found = figure.build().string(colorless=not any(colour for _, colour in lines))
    figure.clear()
    return found


def encodes(stream: TextIO, text: str) -> bool:
    """Whether a stream can show these letters."""
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeError:
        return False
    return True
