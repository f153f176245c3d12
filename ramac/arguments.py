"""Typed arguments of registry entries: what their constructors take, as nodes of a configuration."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import field, make_dataclass
from enum import Enum
from functools import cache
from inspect import Parameter, cleandoc, getdoc, signature
from typing import Any, Literal, cast, get_args, get_origin

from omegaconf import MISSING, DictConfig, OmegaConf

from ramac.errors import InputError


@cache
def parameters(entry: type) -> dict[str, Parameter]:
    """Keyword-only arguments of an entry, with evaluated annotations.

    A constructor that takes `**more` passes it on: its base class's come after its own. Those of a class method
    `configured`, by which a group makes its entries, come last.
    """
    found: dict[str, Parameter] = {}
    makers = [kind for kind in entry.__mro__ if "__init__" in vars(kind)]
    for maker in makers:
        arguments = signature(maker, eval_str=True).parameters.values()
        found = found | keywords(arguments, found)
        if not any(p.kind is p.VAR_KEYWORD for p in arguments):
            break
    if hasattr(entry, "configured"):
        found |= keywords(signature(entry.configured, eval_str=True).parameters.values(), found)
    return found


def keywords(arguments: Iterable[Parameter], known: Collection[str]) -> dict[str, Parameter]:
    """The keyword-only ones that are not known yet."""
    return {p.name: p for p in arguments if p.kind is p.KEYWORD_ONLY and p.name not in known}


@cache
def meanings(entry: type) -> dict[str, str]:
    """Meaning of each argument from the `Args:` of the class, or of the nearest base class that explains it."""
    found: dict[str, str] = {}
    for kind in reversed(entry.__mro__):
        section = cleandoc(vars(kind).get("__doc__") or "").partition("\n\nArgs:\n")[2]
        lines = re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", section, re.MULTILINE)
        found |= {name: " ".join(text.split()) for name, text in lines}
    return {name: found[name] for name in parameters(entry) if name in found}


def described(entry: type) -> str:
    """Docstring of an entry without its `Args:`."""
    return (getdoc(entry) or "").partition("\n\nArgs:\n")[0]


@cache
def defaults(entry: type, name: str, given: tuple[tuple[str, Any], ...]) -> DictConfig:
    """Typed node of an entry's arguments, some `given`; made once: it takes milliseconds, and a run asks for fifty."""
    fields: list[tuple[str, Any, Any]] = [("name", str, name)]
    for p in parameters(entry).values():
        hint, value = p.annotation, dict(given).get(p.name, MISSING if p.default is p.empty else p.default)
        if get_origin(hint) is Literal:
            choices: Any = Enum(p.name, {v: v for v in get_args(hint)}, type=str)
            hint, value = choices, choices(value)
        elif hint is float and getattr(entry, "ranged", False):
            hint = Any  # a number, or a range of two
        fields.append((p.name, hint, field(default_factory=lambda v=value: v)))
    return OmegaConf.structured(make_dataclass(re.sub(r"\W", "_", name), fields))


def number_or_range(name: str, value: Any) -> float | list[float]:
    """A number, or the two ends of a range. Raises InputError."""
    parts: tuple[Any, ...] = value if isinstance(value, tuple) and len(value) == 2 else (value,)
    try:
        found = [float(part) for part in parts if not isinstance(part, bool)]
        if len(found) == len(parts):
            return found if len(found) == 2 else found[0]
    except (TypeError, ValueError):
        pass
    given = list(value) if isinstance(value, tuple) else value
    raise InputError(f"{name} must be a number, or two as a range, got {given!r}")


def ranges_of(entry: type, values: Mapping[str, Any]) -> dict[str, str]:
    """The ranges among an entry's values by name, as labels write them: `0.05to1`."""
    floats = [name for name, p in parameters(entry).items() if p.annotation is float]
    ranges = {name: cast("tuple[float, ...]", values[name]) for name in floats if isinstance(values.get(name), tuple)}
    return {name: "to".join(f"{end:g}" for end in ends) for name, ends in ranges.items()}
