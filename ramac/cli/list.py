"""`ramac list [group]`: the registry as tables."""

from typing import Any, Literal, get_args, get_origin

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ramac.cli import presets
from ramac.errors import known_group
from ramac.registry import SLOTS, Registry, paper, summary

USAGE = "ramac list [GROUP ...]   entries with arguments, types, defaults and papers"
COMMENTS = {  # columns of presets, and how their lines on top of a file start
    "recipe": {"what it is": "", "paper": "Paper: ", "deviations": "Deviations: "},
    "sweep": {"question": ""},
}


def kind(annotation: Any) -> str:
    """A type as it is written: `int`, `tuple[int, ...]`, `midpoint | euler`."""
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    return str(annotation) if get_args(annotation) else annotation.__name__


def arguments(registry: Registry, name: str) -> str:
    """One line per argument: name, type, default; the one a numeric suffix sets is marked."""
    lines = []
    for key, parameter in registry.parameters(name).items():
        default = "" if parameter.default is parameter.empty else f" = {parameter.default}"
        mark = f"   ({name}NUMBER)" if registry.suffix[name] == key else ""
        lines.append(f"{key}: {kind(parameter.annotation)}{default}{mark}")
    return "\n".join(lines)


def preset_table(group: str) -> Table:
    """Recipes (published algorithms) or sweeps (ready grids): what the comments on top of their files say."""
    table = Table(title=f"{group}=", title_justify="left", show_lines=True)
    for column in (group, *COMMENTS[group]):
        table.add_column(column, overflow="fold")
    for name, path in presets(group).items():
        comments = [line[2:] for line in path.read_text().splitlines() if line.startswith("# ")][1:]
        starts = COMMENTS[group].values()
        table.add_row(name, *(escape(line.removeprefix(start)) for line, start in zip(comments, starts, strict=True)))
    return table


def command(groups: list[str]) -> int:
    """Print the entries of the given groups, or of all; returns 0. Raises InputError for an unknown group."""
    if groups[:1] in (["--help"], ["help"]):
        print(USAGE)
        return 0
    for group in groups:
        known_group(group, (*SLOTS, *COMMENTS))
    console = Console()
    for group in groups or (*SLOTS, *COMMENTS):
        if group in COMMENTS:
            console.print(preset_table(group))
            continue
        registry = SLOTS[group]
        table = Table(title=f"{group}=", title_justify="left", show_lines=True)
        for column in ("entry", "arguments", "what it is", "paper"):
            table.add_column(column, overflow="fold")
        for name, entry in registry.items():
            table.add_row(*map(escape, (name, arguments(registry, name), summary(entry), paper(entry))))
        console.print(table)
    return 0
