"""Text from outside: what each place would obey is not in it."""

import ast
import csv
import io
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ramac.cli import fail, one_line, show_table
from ramac.reporting import formats
from ramac.reporting.formats import Column, Table, latex, markdown
from ramac.text import (
    for_csv,
    for_label,
    for_latex,
    for_markdown,
    for_terminal,
    harmless_streams,
    printable,
    say,
    shortened,
    styled,
)

HOSTILE = [
    "\x1b]0;title\x07", "\x9b31m", "[red]markup[/red] :warning:", "$\\frac$", "[16,16]", "*star", "a|b", "two\nlines",
    "=cmd|' /C calc'!A0", "<script>alert(1)</script>", "\u202eback", "\u2066x", "gr\udcf6sse", "50% #1 & {x}_y ^ ~ \\",
    "`code`", "https://x.org www.x.org @you", "--dash---", "\t tab", "\r=1+1", "x" * 10_000, "_under_",
]  # fmt: skip
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_acts_in_any_place(text):
    for shown in (printable(text), for_terminal(text), for_markdown(text), for_latex(text), for_csv(text)):
        assert shown.isprintable()
        shown.encode()
    assert all(line.isprintable() for line in for_label(text).split("\n"))
    assert len(for_terminal(text)) <= 2005
    assert len(for_label(text, 20)) <= 3 * 21
    assert not for_label(text).startswith("_")
    # a plain rule for LaTeX: without the commands that stand for letters, no special character is left
    rest = re.sub(r"\\(text\w+\{\}|[&%$#_{}])|\$-\$|^\{[\[*]\}|-\{\}", "", for_latex(text))
    assert not set(rest) & set("\\{}$&#^_%~<>|")
    assert not re.match(r"\s*[\[*]", for_latex(text))
    rest = re.sub(r"\\[\\`*{}\[\]<>#|~&$@_:.]", "", for_markdown(text))
    assert not set(rest) & set("\\`*{}[]<>#|~&$@") and "://" not in rest


def test_plain_text_stays():
    for text in ("actor=flow, CVaR_0.1", "größe 中文", "-0.5", "1e-3", "-", "a-b c"):
        assert printable(text) == for_csv(text) == for_terminal(text) == for_label(text) == text
        assert for_markdown(text) == text
    assert for_latex("-3 (-4 to -2) in radac-0.1") == "$-$3 ($-$4 to $-$2) in radac-0.1"
    assert for_latex(r"50% of a_b & {x} #1 $ ~ ^ \ ") == (
        r"50\% of a\_b \& \{x\} \#1 \$ \textasciitilde{} \textasciicircum{} \textbackslash{} "
    )
    assert [for_csv(x) for x in ("=1", "@x", "+a", "-a", -1.5)] == ["'=1", "'@x", "'+a", "'-a", -1.5]
    assert shortened("x" * 500 + "end", 50) == "x" * 22 + " ... " + "x" * 20 + "end"


def test_terminals_of_any_encoding(monkeypatch):
    for encoding in ("ascii", "latin-1", "cp1252", "utf-8"):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
        say("größe 中 ✗ \udcf6 \x1b[2J")
        say("[bold]größe 中[/bold] \x1b", bold="größe 中")
        harmless_streams()
        show_table("[red]中\x1b", ("é", "✗"), [("[link=x]y[/link]\x1b", styled("✓\x1b", "red"))])
        sys.stdout.flush()
        text = raw.getvalue().decode(encoding)
        assert "\x1b" not in text
        assert "[bold]" in text and "[red]" in text and "[link=x]y[/link]" in text


def test_warnings_and_refusals_are_escaped(capsys):
    assert one_line(UserWarning("a\n\x1b[2J"), UserWarning) == "ramac: a\\n\\x1b[2J\n"
    with pytest.raises(SystemExit):
        fail("\x1b[2J\u202e" + "x" * 5000)
    line = capsys.readouterr().err
    assert line.startswith(r"ramac: \x1b[2J\u202ex") and line.endswith(" ...\n") and len(line) < 2010


def hostile_table() -> Table:
    frame = pd.DataFrame(
        {"task": "t", "$[name": pd.Series(HOSTILE, dtype=object), "mean": np.arange(len(HOSTILE)) - 1.5}
    )
    return Table(
        "table", "[t]|$", "of $x$ & [y]", [Column("$[name", "$[name", "", "s"), Column("mean", "mean", "")], frame
    )


def test_tables_keep_their_shape():
    table = hostile_table()
    body = latex([table]).partition("\\midrule\n")[2].partition("\\bottomrule")[0].splitlines()
    assert len(body) == len(HOSTILE)
    for row in body:
        assert re.fullmatch(r"[^&]*(\\&[^&]*)* & \S+ \\\\", row) and not re.match(r"\s*[\[*]", row)
        plain = re.sub(r"\\[{}]", "", row)
        assert plain.count("{") == plain.count("}")
    rows = [line for line in markdown([table]).splitlines() if line.startswith("|")][2:]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [3] * len(HOSTILE)
    found = list(csv.reader(io.StringIO(formats.csv([table]))))
    assert [len(row) for row in found] == [3] * (len(HOSTILE) + 1)
    assert found[0][1] == "$[name" and found[20][1] == "x" * 10_000
    assert [float(row[2]) for row in found[1:]] == [index - 1.5 for index in range(len(HOSTILE))]
    assert not [row for row in found if row[1].lstrip().startswith(("=", "@"))]


def test_a_figure_takes_any_title(tmp_path):
    from ramac.plotting import calibration_figure

    sample = np.linspace(0, 1, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for index, title in enumerate(("$\\foo$", "中文" + "x" * 10_000, "\x1b\udcf6")):
            calibration_figure(sample, sample, sample, title, tmp_path / f"{index}.png")
    assert len(list(tmp_path.iterdir())) == 3


def text_files(tree: ast.AST) -> list[int]:
    """Lines that open a file as text without naming its encoding."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        words = [
            each.value for each in [*node.args, *(k.value for k in node.keywords)] if isinstance(each, ast.Constant)
        ]
        binary = any(isinstance(word, str) and "b" in word and len(word) <= 3 for word in words)
        opens = name in ("read_text", "write_text") or (
            name == "open" and owner not in ("os", "h5py.h5d", "archive") and not binary
        )
        if opens and "encoding" not in {keyword.arg for keyword in node.keywords}:
            found.append(node.lineno)
    return found


def test_every_text_file_is_utf8_whatever_the_locale():
    assert text_files(ast.parse("a.open()\nopen(b, 'w')\np.read_text()\nopen(c, 'rb')\nopen(d, encoding='utf-8')")) == [
        1,
        2,
        3,
    ]
    folders = ("ramac", "scripts", "hydra_plugins", "benchmarks", "examples")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    found = {str(file): text_files(ast.parse(file.read_text(encoding="utf-8"))) for file in files}
    assert not {file: lines for file, lines in found.items() if lines}
