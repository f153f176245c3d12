"""How a table is shown: its numbers with as many decimals as their column needs, as Markdown and LaTeX."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import pandas as pd

ESCAPES = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "†": r"$^\dagger$"}
)
SHAPES = ("-", "{}", "{} to {}", "{} ({} to {})")  # of a cell, by how many of its numbers there are
INTERVAL, SPREAD = ("", "_low", "_high"), ("_min", "_max")  # endings of a column's names in the data frame


@dataclass(frozen=True)
class Column:
    """One column for readers, which shows one, two or three columns of the data frame.

    `style`: a format such as `.1%`, `s` for text; without it three digits of the largest number.
    """

    key: str
    title: str
    meaning: str
    style: str = ""
    endings: tuple[str, ...] = ("",)
    bold: bool = False  # the highest value, and each whose interval contains it; for INTERVAL only
    marks: tuple[str, ...] = ()  # added to the text of each row

    @property
    def names(self) -> list[str]:
        """Names of its columns in the data frame."""
        return [self.key + ending for ending in self.endings]


@dataclass
class Table:
    """Rows of one task in full precision, and how readers see them. The last `reference` rows are no groups."""

    name: str
    task: str
    caption: str
    columns: list[Column]
    frame: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    reference: int = 0

    def cells(self, escape: Callable[[str], str], strong: Callable[[str], str]) -> list[list[str]]:
        """Rows of text; `escape` is for all of it, `strong` for what is bold."""
        return [list(row) for row in zip(*(self.shown(column, escape, strong) for column in self.columns), strict=True)]

    def shown(self, column: Column, escape: Callable[[str], str], strong: Callable[[str], str]) -> list[str]:
        """Text of a column."""
        values, groups = self.frame[column.names], len(self.frame) - self.reference
        main = values.iloc[:groups, : 1 + (column.endings == SPREAD)]  # not the ends of an interval
        top = main.to_numpy().max() if column.bold else None
        style = column.style or f"z.{decimals(main.to_numpy(float).flat)}f"  # z: no minus before a zero
        texts = []
        for index, row in enumerate(values.itertuples(index=False)):
            there = [f"{value:{style}}" for value in row if not pd.isna(value)]
            mark = column.marks[index] if index < len(column.marks) else ""
            cell = escape(" ".join(SHAPES[len(there)].format(*there).split()) + mark)
            best = column.bold and index < groups and (row[0] == top or row[1] <= top <= row[2])
            texts.append(strong(cell) if best else cell)
        return texts


def decimals(values: Iterable[float]) -> int:
    """Decimals that show three digits of the largest number, at most six."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return min(6, max(0, 2 - math.floor(math.log10(largest)))) if largest else 0


def counted(number: int, noun: str) -> str:
    """A number with its noun, which takes an s."""
    return f"{number} {noun}{'s' if number != 1 else ''}"


def frame_of(tables: Iterable[Table]) -> pd.DataFrame:
    """The rows of all tasks, the task in front; nan where a task has no such column."""
    frames = [table.frame for table in tables]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def markdown(tables: Sequence[Table]) -> str:
    """Tables with their captions, one after the other."""
    parts = []
    for table in tables:
        head = [marked(column.title) for column in table.columns]
        rule = ["---" if column.style == "s" else "---:" for column in table.columns]
        lines = [f"| {' | '.join(row)} |" for row in (head, rule, *table.cells(marked, "**{}**".format))]
        title = f"**{marked(table.task)}.** {marked(table.caption)}" if table.task else marked(table.caption)
        parts.append("\n".join([title, "", *lines, *(f"\n{marked(note)}." for note in table.notes)]))
    return "\n\n".join(parts) + "\n"


def marked(text: str) -> str:
    """Text for Markdown; an underscore inside a word means nothing there."""
    return re.sub(r"[\\`*\[\]<>|$]|(?<![^\W_])_|_(?![^\W_])", lambda found: f"\\{found[0]}", text)


def latex(tables: Sequence[Table]) -> str:
    """Table environments for booktabs, one per task."""
    parts = ["% needs \\usepackage{booktabs}\n"]
    for table in tables:
        caption = escaped(" ".join([f"{table.task}:" if table.task else "", table.caption]).strip())
        rows = pd.DataFrame(table.cells(escaped, r"\textbf{{{}}}".format), dtype=object)
        rows.columns = [escaped(column.title) for column in table.columns]
        parts.append(rows.style.hide(axis="index").to_latex(
            column_format="".join("l" if column.style == "s" else "r" for column in table.columns), hrules=True,
            caption=caption + "".join(f" {escaped(note)}." for note in table.notes), position_float="centering",
            label="-".join(filter(None, ["tab", table.name, re.sub(r"\W+", "-", table.task)])),
        ))  # fmt: skip
    return "".join(parts)


def escaped(text: str) -> str:
    """Text for LaTeX; a minus before a digit as a minus sign."""
    return re.sub(r"(?<![\w}])-(?=\d)", "$-$", text.translate(ESCAPES))
