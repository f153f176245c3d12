"""Files outside docs/ that pages link to, as pages of the site: Markdown as it is, code in a block."""

import os
import re
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(\]\()([^)#\s:]+)(#[^)]*)?\)")
BLOCK = re.compile(r"(^ *```.*?^ *```[^\n]*$)", re.M | re.S)
FOLDER = "repository/"


def origin(source: str) -> str:
    """Path in the repository that a page of the site stands for."""
    return source.removeprefix(FOLDER).removesuffix(".page.md") if source.startswith(FOLDER) else f"docs/{source}"


def place(path: str) -> str:
    """Page of the site of a path in the repository."""
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{FOLDER}{path}.page.md"


def target_of(link: str, source: str) -> str:
    """Path in the repository that a page's link leads to, or an empty text if there is no such file."""
    path = os.path.normpath(PurePosixPath(origin(source)).parent / link)
    return path if not path.startswith("..") and (ROOT / path).exists() else ""


def relinked(text: str, source: str) -> str:
    """A page's text with links to files outside docs/ that lead to the generated pages."""

    def change(match: re.Match[str]) -> str:
        path = target_of(match[2], source)
        if not path or (not source.startswith(FOLDER) and path.startswith("docs/")):
            return match[0]
        link = os.path.relpath(place(path), PurePosixPath(source).parent)
        anchor = match[3] or "" if path.endswith(".md") else ""
        return f"{match[1]}{link}{anchor})"

    parts = BLOCK.split(text)
    return "".join(part if part.lstrip().startswith("```") else LINK.sub(change, part) for part in parts)


def page(path: str) -> str:
    """Text of the page of a file or folder."""
    full = ROOT / path
    if full.is_dir():
        names = sorted(f"{p.name}/" if p.is_dir() else p.name for p in full.iterdir() if p.name[0] not in "._")
        return f"# {path}/\n\n" + "\n".join(f"- `{name}`" for name in names) + "\n"
    text = full.read_text(encoding="utf-8")
    return text if full.suffix == ".md" else f"# {path}\n\n````{full.suffix[1:]}\n{text}\n````\n"


def pages(sources: list[str], generated: dict[str, str]) -> dict[str, str]:
    """Pages of all files outside docs/ that these pages, the generated ones, or the pages found so link to."""
    found: dict[str, str] = {}
    waiting = [(name, (ROOT / "docs" / name).read_text(encoding="utf-8")) for name in sources] + list(generated.items())
    while waiting:
        source, text = waiting.pop()
        for match in LINK.finditer(BLOCK.sub("", text)):
            path = target_of(match[2], source)
            if path and not path.startswith("docs/") and place(path) not in found:
                found[place(path)] = page(path)
                if path.endswith(".md"):
                    waiting.append((place(path), found[place(path)]))
    return found
