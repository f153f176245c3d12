"""ramac list [GROUP...]: entries with arguments, types, defaults and papers"""

from typing import Any, Literal, get_args, get_origin

from ramac.cli import importing, show_table
from ramac.errors import known_group
from ramac.experiment.presets import about, presets
from ramac.registry import SLOTS, Registry, load, paper, summary

ABOUT = {"recipe": ("what", "paper", "deviations"), "sweep": ("question",)}  # keys of `about` in a preset's file


def kind(annotation: Any) -> str:
    """A type as it is written: `int`, `tuple[int, ...]`, `midpoint | euler`."""
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    return str(annotation) if get_args(annotation) else annotation.__name__


def arguments(registry: Registry, name: str) -> list[str]:
    """One line per argument: name, type, default; marks for what a numeric suffix sets, and for what may be a range."""
    lines = []
    for key, parameter in registry.parameters(name).items():
        default = "" if parameter.default is parameter.empty else f" = {parameter.default}"
        mark = f"   ({name}NUMBER)" if registry.suffix[name] == key else ""
        ranged = " | [LOW,HIGH]" * (parameter.annotation is float and getattr(registry[name], "ranged", False))
        lines.append(f"{key}: {kind(parameter.annotation)}{ranged}{default}{mark}")
    return lines


def rows_of(group: str) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Columns and rows of a group of entries or presets."""
    if group in ABOUT:
        keys, texts = ABOUT[group], {name: about(path) for name, path in presets(group).items()}
        return (group, *keys), [(name, *(str(text.get(key, "")) for key in keys)) for name, text in texts.items()]
    registry = SLOTS[group]
    rows = [(name, arguments(registry, name), summary(entry), paper(entry)) for name, entry in registry.items()]
    return ("entry", "arguments", "what it is", "paper"), rows


def main(arguments: list[str]) -> int:
    """Print the entries of the given groups, or of all. Raises InputError for an unknown group."""
    known = (*SLOTS, *ABOUT)
    for group in arguments:
        known_group(group, known)
    groups = arguments or known
    if set(groups) & set(SLOTS):
        with importing():
            load()
    for group in groups:
        columns, rows = rows_of(group)
        show_table(f"{group}=", columns, rows, others="left", show_lines=True)
    return 0
