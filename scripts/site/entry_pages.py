"""One page per built-in entry of each registry and per preset, and an index page per group."""

import inspect
import re
from pathlib import Path
from typing import Any

import entry_numbers

from ramac.arguments import described, meanings
from ramac.cli.list import ABOUT, kind
from ramac.experiment.presets import about, presets
from ramac.registry import SLOTS, Registry, load, paper, summary

ROOT = Path(__file__).resolve().parents[2]


def cell(text: Any) -> str:
    """Text inside a table; in backticks only the bar needs an escape."""
    parts = re.split(r"(`[^`]*`)", " ".join(str(text).split()).replace("|", "\\|"))
    return "".join(p if p[:1] == "`" else p.replace("[", "\\[").replace("<", "&lt;") for p in parts)


def prose(text: str) -> str:
    """A docstring as paragraphs, the paper one of its own: what is not in backticks is no markup."""
    text = re.sub(r"(?<!\n)\nPaper: ", "\n\nPaper: ", text)
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(p if p[:1] == "`" else re.sub(r"([\\*_\[\]<>#|])", r"\\\1", p) for p in parts)


def source_links(text: str) -> str:
    """Names of pages, as docstrings write them, as links of a page in docs/entries/GROUP/."""
    return re.sub(r"(?<![\w/`])docs/([\w/-]+\.md)", r"[\1](../../\1)", text)


def table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table of Markdown; the cells are escaped already."""
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def arguments(registry: Registry, name: str) -> str:
    """Table of an entry's arguments."""
    rows, said = [], meanings(registry[name])
    for key, parameter in registry.parameters(name).items():
        ranged = parameter.annotation is float and getattr(registry[name], "ranged", False)
        notes = [source_links(cell(said.get(key, ""))).rstrip(".")] * (key in said)
        notes += [f"set by a number after the name: `{name}NUMBER`"] * (registry.suffix[name] == key)
        notes += ["may be a range `[LOW,HIGH]`"] * ranged
        default = "required" if parameter.default is parameter.empty else f"`{parameter.default}`".replace("|", "\\|")
        rows.append((f"`{key}`", cell(kind(parameter.annotation)), default, "; ".join(notes)))
    return table(("argument", "type", "default", "meaning"), rows) if rows else "It has no arguments.\n"


def entry_page(group: str, registry: Registry, name: str) -> str:
    """Page of one entry."""
    entry = registry[name]
    file = Path(inspect.getsourcefile(entry) or "").resolve().relative_to(ROOT)
    chosen = f"data={name}:REST" if group == "source" else f"{group}={name}"
    return (
        f"# {group} `{name}`\n\n```\nramac {chosen}\n```\n\n{source_links(prose(described(entry)))}\n\n"
        f"## Arguments\n\n{arguments(registry, name)}\n{entry_numbers.sections(group, name)}"
        f"Source: [`{file}`](../../../{file}), class `{entry.__name__}`. All of this group: [{group}](../{group}.md).\n"
    )


def preset_page(group: str, name: str, path: Any) -> str:
    """Page of a recipe or sweep: what it is about, and its file."""
    lines = "\n\n".join(f"**{key}**: {cell(text)}" for key, text in about(path).items())
    text = Path(path).read_text(encoding="utf-8")
    return f"# {group} `{name}`\n\n```\nramac {group}={name}\n```\n\n{lines}\n\n```yaml\n{text}```\n"


def pages() -> dict[str, str]:
    """Path in docs/ -> text of each page. Plug-ins are left out."""
    load()
    found = {}
    for group, registry in SLOTS.items():
        names = [name for name in registry if registry[name].__module__.startswith("ramac.")]
        columns, rows = ("entry", "what it is", "paper"), list[tuple[str, ...]]()
        costs = entry_numbers.costs(group)
        for n in names:
            rows.append((f"[`{n}`]({group}/{n}.md)", cell(summary(registry[n])), cell(paper(registry[n]))))
            rows[-1] += (costs.get(n, ""),) * bool(costs)
        columns += ("[cost](../results/entries.md)",) * bool(costs)
        found[f"entries/{group}.md"] = f"# {group}\n\n{table(columns, rows)}"
        found |= {f"entries/{group}/{name}.md": entry_page(group, registry, name) for name in names}
    for group, keys in ABOUT.items():
        known = presets(group)
        rows = [(f"[`{n}`]({group}/{n}.md)", *(cell(about(p).get(k, "")) for k in keys)) for n, p in known.items()]
        found[f"entries/{group}.md"] = f"# {group}\n\n{table((group, *keys), rows)}"
        found |= {f"entries/{group}/{name}.md": preset_page(group, name, path) for name, path in known.items()}
    return found
