"""A table as Markdown, csv and LaTeX; numbers with as many decimals as their column needs."""

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

ESCAPES = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "†": r"$^\dagger$"}
)


@dataclass(frozen=True)
class Column:
    """A column: its title, what it means, and the names of its numbers in a csv file."""

    title: str
    meaning: str
    names: tuple[str, ...]
    number: bool = True


@dataclass(frozen=True)
class Cell:
    """Text for readers, values for a csv file (one per name of the column), and whether it is among the best."""

    text: str
    values: tuple[float | int | str, ...]
    best: bool = False


@dataclass
class Table:
    """Rows of cells of one task."""

    name: str
    task: str
    caption: str
    columns: list[Column]
    rows: list[list[Cell]]
    notes: list[str] = field(default_factory=list)

    def without_empty(self) -> "Table":
        """The table without the columns that have no value in any row."""
        kept = [i for i in range(len(self.columns)) if any(row[i].text != "-" for row in self.rows)]
        rows = [[row[i] for i in kept] for row in self.rows]
        return Table(self.name, self.task, self.caption, [self.columns[i] for i in kept], rows, self.notes)


def counted(number: int, noun: str) -> str:
    """A number with its noun, which takes an s."""
    return f"{number} {noun}{'s' if number != 1 else ''}"


def words(value: str) -> Cell:
    """A cell of text."""
    return Cell(value, (value,))


def figures(values: Iterable[float], style: str = "") -> list[Cell]:
    """A column of cells of one number each; `style` is a format such as `.1%`, else three digits of the largest."""
    values = list(values)
    style = style or f"z.{decimals(values)}f"  # z: no minus before a zero
    return [Cell("-" if math.isnan(value) else f"{value:{style}}", (value,)) for value in values]


def intervals(values: Sequence[float], ends: Sequence[tuple[float, float]], best: bool = False) -> list[Cell]:
    """A column of numbers with their intervals; `best` marks the highest and each whose interval contains it."""
    style = f"z.{decimals(values)}f"  # z: no minus before a zero
    top = max(values)
    return [
        Cell(
            f"{value:{style}}" if math.isnan(low) else f"{value:{style}} ({low:{style}} to {high:{style}})",
            (value, low, high),
            best and (value == top or low <= top <= high),
        )
        for value, (low, high) in zip(values, ends, strict=True)
    ]


def decimals(values: Iterable[float]) -> int:
    """Decimals that show three digits of the largest number, at most six."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return min(6, max(0, 2 - math.floor(math.log10(largest)))) if largest else 0


def markdown(tables: Sequence[Table]) -> str:
    """Tables with their captions, one after the other."""
    parts = []
    for table in tables:
        head = [column.title for column in table.columns]
        rule = ["---:" if column.number else "---" for column in table.columns]
        body = [
            [f"**{cell.text}**" if cell.best else cell.text.replace("|", r"\|") for cell in row] for row in table.rows
        ]
        lines = [f"| {' | '.join(row)} |" for row in (head, rule, *body)]
        title = [f"**{table.task}.** {table.caption}" if table.task else table.caption, ""]
        parts.append("\n".join([*title, *lines, *(f"\n{note}." for note in table.notes)]))
    return "\n\n".join(parts) + "\n"


def separated(tables: Sequence[Table]) -> str:
    """One csv of all tables, in full precision, the task in front; an empty field where a table has no such number."""
    names = ["task", *dict.fromkeys(name for table in tables for column in table.columns for name in column.names)]
    file = io.StringIO()
    writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
    writer.writeheader()
    for table in tables:
        for row in table.rows:
            record: dict[str, float | int | str] = {"task": table.task}
            for column, cell in zip(table.columns, row, strict=True):
                record |= zip(column.names, cell.values, strict=True)
            writer.writerow({name: "" if value != value else value for name, value in record.items()})
    return file.getvalue()


def latex(tables: Sequence[Table]) -> str:
    """Table environments for booktabs, one per task."""
    parts = ["% needs \\usepackage{booktabs}"]
    for table in tables:
        align = "".join("r" if column.number else "l" for column in table.columns)
        head = " & ".join(escaped(column.title) for column in table.columns)
        body = [
            " & ".join(rf"\textbf{{{escaped(cell.text)}}}" if cell.best else escaped(cell.text) for cell in row)
            + r" \\"
            for row in table.rows
        ]
        caption = escaped(" ".join([f"{table.task}:" if table.task else "", table.caption]).strip())
        notes = "".join(f" {escaped(note)}." for note in table.notes)
        label = "-".join(filter(None, ["tab", table.name, re.sub(r"\W+", "-", table.task)]))
        parts += [
            r"\begin{table}", r"\centering", rf"\caption{{{caption}{notes}}}", rf"\label{{{label}}}",
            rf"\begin{{tabular}}{{{align}}}", r"\toprule", rf"{head} \\", r"\midrule", *body, r"\bottomrule",
            r"\end{tabular}", r"\end{table}",
        ]  # fmt: skip
    return "\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Text for LaTeX; a minus before a digit as a minus sign."""
    return re.sub(r"(?<![\w}])-(?=\d)", "$-$", text.translate(ESCAPES))
