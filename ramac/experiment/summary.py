"""The types in summary.json, whoever wrote it: what reports, tables and cards of a run rely on."""

from collections.abc import Callable, Mapping
from typing import Any

from ramac.errors import InputError

Check = Callable[[Any], bool]


def is_number(value: Any) -> bool:
    """Whether a value is a number; nan and infinity are, true is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_text(value: Any) -> bool:
    """Whether a value is text."""
    return isinstance(value, str)


def is_whole(value: Any) -> bool:
    """Whether a value is an integer from 0."""
    return type(value) is int and value >= 0


def listed(check: Check) -> Check:
    """Whether a value is a list of such values."""
    return lambda value: isinstance(value, list) and all(map(check, value))


def mapped(check: Check) -> Check:
    """Whether a value is a mapping to such values."""
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def having(**checks: Check) -> Check:
    """Whether a value is a mapping whose keys, where they are there, hold such values."""
    return lambda value: isinstance(value, dict) and all(check(value.get(key)) for key, check in checks.items())


def optional(check: Check) -> Check:
    """Whether a value is such a value or null."""
    return lambda value: value is None or check(value)


def by_level(value: Any) -> bool:
    """Whether a value is numbers by level, `{"0.1": -3.5}`."""
    return mapped(optional(is_number))(value) and all(map(is_level, value))


def is_level(text: str) -> bool:
    """Whether text is a level of CVaR, in (0, 1]."""
    try:
        return 0 < float(text) <= 1
    except ValueError:
        return False


def is_interval(value: Any) -> bool:
    """Whether a value is two numbers."""
    return listed(optional(is_number))(value) and len(value) == 2


NUMBER = optional(is_number)
TYPES: dict[str, tuple[Check, str]] = {  # key -> what its value must be, and in words
    **dict.fromkeys(("task", "recipe", "actor", "critic", "risk", "data", "data_sha256", "device", "host"),
                    (optional(is_text), "text")),
    **dict.fromkeys(("seed", "steps", "episodes", "threads"), (optional(is_whole), "a whole number from 0")),
    **dict.fromkeys(("return_mean", "return_std", "return_min", "return_trimmed_mean", "return_iqm", "hazard_rate",
                     "penalties", "score", "updates_per_second", "wall_seconds"), (NUMBER, "a number")),
    "loss": (optional(listed(is_text)), "a list of names"),
    "return_cvar": (optional(by_level), "numbers by level"),
    "intervals": (optional(mapped(is_interval)), "pairs of numbers by name"),
    "evaluations_per_update": (optional(mapped(NUMBER)), "numbers by name"),
    "behaviour": (optional(having(episodes=NUMBER, return_mean=NUMBER, return_cvar=optional(by_level))),
                  "episodes, return_mean and return_cvar"),
    "checkpoint": (optional(having(step=optional(is_whole), return_means=optional(mapped(NUMBER)))),
                   "a gradient step and a rule"),
    "estimate": (optional(having(mean=NUMBER, cvar=optional(by_level), verdict=optional(is_text))),
                 "mean, cvar and a verdict"),
}  # fmt: skip


def checked(path: Any, summary: Mapping[str, Any]) -> dict[str, Any]:
    """The content of summary.json, if the values of its known keys have their types. Raises InputError.

    A key may be missing: versions and tasks differ. Reports leave out an `ood` that they cannot draw.
    """
    for key, (check, words) in TYPES.items():
        if not check(summary.get(key)):
            raise InputError(f"{path}: {key} must be {words}, got {repr(summary[key])[:100]}")
    return dict(summary)
