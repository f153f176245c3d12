"""How a table is shown: its numbers with as many decimals as their column needs, as Markdown and LaTeX."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
from pandas.api.types import is_numeric_dtype

from ramac.text import for_csv, for_latex, for_markdown, shortened

SHAPES = ("-", "{}", "{} to {}", "{} ({} to {})")  # of a cell, by how many of its numbers there are
INTERVAL, SPREAD = ("", "_low", "_high"), ("_min", "_max")  # endings of a column's names in the data frame

FOREMOST = 30  # groups that the page shows before its reader unfolds the table: two screens


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
    bold: tuple[int, ...] = ()  # rows that stand out
    folded: bool = False  # on the page among all columns only
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

    def short(self) -> "Table":
        """The columns that readers need first, of the FOREMOST groups by CVaR (in their order) and the reference."""
        groups = self.frame.iloc[: len(self.frame) - self.reference]
        kept = list(range(len(groups)))
        if len(groups) > FOREMOST:
            order = groups["cvar"].argsort()[::-1] if "cvar" in groups else kept
            kept = sorted(order[:FOREMOST])
        columns = [
            replace(
                column,
                bold=tuple(kept.index(row) for row in column.bold if row in kept),
                marks=tuple(column.marks[row] for row in kept) if column.marks else (),
            )
            for column in self.columns
            if not column.folded
        ]
        frame = self.frame.iloc[[*kept, *range(len(groups), len(self.frame))]].reset_index(drop=True)
        return replace(self, columns=columns, frame=frame)

    def cells(self, escape: Callable[[str], str], strong: Callable[[str], str]) -> list[list[str]]:
        """Rows of text; `escape` is for all of it, `strong` for what is bold."""
        return [list(row) for row in zip(*(self.shown(column, escape, strong) for column in self.columns), strict=True)]

    def shown(self, column: Column, escape: Callable[[str], str], strong: Callable[[str], str]) -> list[str]:
        """Text of a column."""
        values, groups = self.frame[column.names], len(self.frame) - self.reference
        main = values.iloc[:groups, : 1 + (column.endings == SPREAD)]  # not the ends of an interval
        style = column.style or f"z.{decimals(main.to_numpy(float).flat)}f"  # z: no minus before a zero
        texts = []
        for index, row in enumerate(values.itertuples(index=False)):
            there = [f"{value:{style}}" for value in row if not pd.isna(value)]
            mark = column.marks[index] if index < len(column.marks) else ""
            cell = escape(shortened(" ".join(SHAPES[len(there)].format(*there).split())) + mark)
            texts.append(strong(cell) if index in column.bold else cell)
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


def csv(tables: Sequence[Table]) -> str:
    """The rows of all tasks in full precision; text that a spreadsheet would compute begins with an apostrophe."""
    frame = frame_of(tables).apply(lambda column: column if is_numeric_dtype(column) else column.map(for_csv))
    return frame.rename(columns=for_csv).to_csv(index=False, lineterminator="\n")


def slug(name: str) -> str:
    """Part of a file's name or of a label in LaTeX, of plain letters and at most 60 characters."""
    return re.sub(r"[^\w.]+", "-", name, flags=re.ASCII).strip("-")[:60]


def markdown(tables: Sequence[Table]) -> str:
    """Tables with their captions, one after the other."""
    parts = []
    for table in tables:
        head = [for_markdown(column.title) for column in table.columns]
        rule = ["---" if column.style == "s" else "---:" for column in table.columns]
        lines = [f"| {' | '.join(row)} |" for row in (head, rule, *table.cells(for_markdown, "**{}**".format))]
        task = f"**{for_markdown(table.task)}.** " if table.task else ""
        notes = (f"\n{for_markdown(note)}." for note in table.notes)
        parts.append("\n".join([f"{task}{for_markdown(table.caption)}", "", *lines, *notes]))
    return "\n\n".join(parts) + "\n"


def latex(tables: Sequence[Table]) -> str:
    """Table environments for booktabs, one per task."""
    parts = ["% needs \\usepackage{booktabs}\n"]
    for table in tables:
        caption = for_latex(f"{table.task}: {table.caption}" if table.task else table.caption)
        rows = pd.DataFrame(table.cells(for_latex, r"\textbf{{{}}}".format), dtype=object)
        rows.columns = [for_latex(column.title) for column in table.columns]
        parts.append(rows.style.hide(axis="index").to_latex(
            column_format="".join("l" if column.style == "s" else "r" for column in table.columns), hrules=True,
            caption=caption + "".join(f" {for_latex(note)}." for note in table.notes), position_float="centering",
            label="-".join(filter(None, ["tab", table.name, slug(table.task)])),
        ))  # fmt: skip
    return "".join(parts)
