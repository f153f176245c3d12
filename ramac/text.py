"""Text from outside, made harmless for the place where it appears: terminal, Markdown, LaTeX, spreadsheet or figure.

Names come from folders, files and environments of other people. HTML itself is escaped by jinja2.
"""

import io
import re
import sys
import textwrap
from typing import Any, TextIO

LONGEST = 2000  # characters of a line on a terminal: a screen
NAME = 120  # characters of a name in a table: a line
LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "†": r"$^\dagger$"}
)
# an underscore inside a word means nothing in Markdown; a colon or a point can make a link
MARKDOWN = re.compile(r"[\\`*{}\[\]<>#|~&$@]|(?<![^\W_])_|_(?![^\W_])|:(?=\S)|(?<=www)\.", re.IGNORECASE)
FORMULA = re.compile(r"[=+\-@]\s*\S")  # what a spreadsheet computes at the start of a cell


def printable(text: Any) -> str:
    """Text of one line. Control characters, line breaks, marks that turn the direction of writing and what is no
    Unicode (a folder's name that is not UTF-8) are written out, as `\\x1b`.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def shortened(text: Any, longest: int = NAME) -> str:
    """Text without its middle where it has more characters than `longest`."""
    text = str(text)
    if len(text) <= longest:
        return text
    left = (longest - 5) // 2
    return f"{text[:left]} ... {text[left + 5 - longest :]}"


def for_terminal(text: Any, stream: TextIO | None = None) -> str:
    """A line that a terminal shows and does not obey, of at most 2000 characters, in the encoding of the stream."""
    line = printable(text)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    line = line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."
    return line.encode(encoding, "backslashreplace").decode(encoding)


def for_page(value: Any) -> Any:
    """A value for a page, before it is escaped there; finished HTML stays as it is."""
    return value if hasattr(value, "__html__") else printable(value)


def for_markdown(text: Any) -> str:
    """Text for a line or a cell of a table in Markdown: no markup, HTML, link or end of a cell."""
    return MARKDOWN.sub(lambda found: f"\\{found[0]}", printable(text))


def for_latex(text: Any) -> str:
    """Text for a line or a cell of a table in LaTeX; a minus before a digit as a minus sign.

    A row that begins with [ or * would be an option of the command that ends the row before it.
    """
    line = printable(text).translate(LATEX)
    line = re.sub(r"(?<![\w}])-(?=\d)", "$-$", line)
    line = re.sub(r"-(?=-)", "-{}", line)  # two are a dash
    return re.sub(r"^\s*([\[*])", r"{\1}", line)


def for_csv(value: Any) -> Any:
    """A value for a cell that may be opened in a spreadsheet: text that would be a formula begins with an apostrophe.

    Numbers stay as they are, also those that are text, such as -0.5.
    """
    if not isinstance(value, str):
        return value
    line = printable(value)
    try:
        float(line)
    except ValueError:
        return f"'{line}" if FORMULA.match(line.lstrip()) else line
    return line


def for_label(text: Any, width: int = NAME, lines: int = 3) -> str:
    """Text of a figure, in at most so many lines of `width` characters; a $ needs `parse_math=False` on the artist.

    Matplotlib leaves a label that begins with _ out of a legend.
    """
    most = lines * width - (lines > 1) * width // 2  # words leave the ends of lines empty
    label = "\n".join(textwrap.wrap(shortened(printable(text), most), width)[:lines])
    return f" {label}" if label.startswith("_") else label


def say(*lines: Any, error: bool = False, **styles: str) -> None:
    """Print each line on standard output, or standard error. Parts of it may be styled: `bold=folder`, `red=verdict`.

    No text is taken for markup, so that text from outside needs no care.
    """
    stream = sys.stderr if error else sys.stdout
    for line in lines:
        text = for_terminal(line, stream)
        if not styles:
            print(text, file=stream, flush=True)
            continue
        from rich.text import Text

        shown = Text(text)
        for style, part in styles.items():
            shown.highlight_words([for_terminal(part, stream)] if part else [], style)
        console(stream).print(shown, soft_wrap=True)


def styled(text: Any, style: str) -> Any:
    """A cell of a table in a colour."""
    from rich.text import Text

    return Text(printable(text), style)


def console(stream: TextIO | None = None, **options: Any) -> Any:
    """A console of rich that reads no markup and draws in the encoding of the stream."""
    from rich.console import Console  # noqa: TID251

    return Console(file=stream, markup=False, emoji=False, highlight=False, **options)


def harmless_streams() -> None:
    """Let standard output and error write out what their encoding lacks (LC_ALL=C, cp1252) instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
