"""Notebooks as pages: scripts in docs/notebooks/ are executed, and shown with their outputs.

An executed notebook is kept in .cache/notebooks/, and executed again when its script, ramac or a package has changed.
"""

import hashlib
import os
import re
import tempfile
from pathlib import Path

import jupytext
import nbformat
from filelock import FileLock
from nbclient import NotebookClient

from ramac.system.runtime import versions

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs/notebooks"
CACHE = ROOT / ".cache/notebooks"
SOURCES = ("ramac/**/*.py", "ramac/**/*.mplstyle", "configs/**/*.yaml", "hydra_plugins/*.py")
LINK = re.compile(r"(\]\((?:[^)\s]*/)?notebooks/[\w-]+)\.py\)")  # to a script: the site has its page
BETWEEN = re.compile(r"(\]\([\w-]+)\.py\)")  # the same from notebook to notebook
EMPTY = re.compile(r"\n\s*")
STYLE = re.compile(r"<style.*?</style>\s*", re.S)
NOTE = (
    "*This page is an executed notebook. Its script is [`{name}`]({name}); `jupytext --to notebook {name}` makes a "
    "notebook of it.*"
)


def scripts() -> list[Path]:
    """The notebooks, as scripts in jupytext's percent format."""
    return sorted(FOLDER.glob("*.py"))


def digest(script: Path) -> str:
    """Of all that the outputs depend on: the script, ramac, and the versions of packages."""
    files = [script, *(path for pattern in SOURCES for path in sorted(ROOT.glob(pattern)))]
    found = hashlib.sha256(repr(versions()).encode())
    for path in files:
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def executed(script: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs. Raises CellExecutionError where a cell fails."""
    CACHE.mkdir(parents=True, exist_ok=True)
    kept = CACHE / f"{script.stem}-{digest(script)}.ipynb"
    with FileLock(CACHE / f"{script.stem}.lock"):  # another process may be at it
        if not kept.exists():
            notebook = execute(jupytext.read(script))
            for old in CACHE.glob(f"{script.stem}-*.ipynb"):
                old.unlink()
            unfinished = kept.with_suffix(".part")
            nbformat.write(notebook, unfinished)
            unfinished.replace(kept)
    return nbformat.read(kept, as_version=4)


def execute(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Execute all cells in a new kernel and an empty folder, on one core."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", extra_arguments=["--log-level=ERROR"])
    with tempfile.TemporaryDirectory() as folder:
        return client.execute(cwd=folder, env=environment)


def shown(output: nbformat.NotebookNode) -> str:
    """An output as Markdown: tables and figures are HTML, other values are text."""
    data = output.get("data", {})
    if html := data.get("text/html"):
        html = STYLE.sub("", html).replace(' border="1" class="dataframe"', "")
        html = EMPTY.sub("\n", html)  # an empty line would end a block of HTML inside Markdown
        return f'<div class="output">{html}</div>'
    text = output.get("text") or data.get("text/plain", "")
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""


def page(script: Path) -> str:
    """Text of the page of a notebook."""
    parts = []
    for cell in executed(script).cells:
        if cell.cell_type == "markdown":
            parts.append(BETWEEN.sub(r"\1.md)", cell.source))
        else:
            parts += [f"```python\n{cell.source}\n```", *filter(None, map(shown, cell.outputs))]
    heading, *rest = parts[0].split("\n\n", 1)
    return "\n\n".join([heading, NOTE.format(name=script.name), *rest, *parts[1:]]) + "\n"


def pages() -> dict[str, str]:
    """Path in docs/ -> text of each page."""
    return {f"notebooks/{script.stem}.md": page(script) for script in scripts()}


def relinked(text: str) -> str:
    """A page's text with links to scripts of notebooks that lead to their pages."""
    return LINK.sub(r"\1.md)", text)
