"""What a run has stored, whoever wrote it: its configuration, and the types in summary.json that reports rely on."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ramac.errors import InputError
from ramac.experiment.config import RunConfig
from ramac.registry import load
from ramac.system.untrusted import read_yaml, refuse_instructions

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


def or_null(check: Check) -> Check:
    """Whether a value is such a value or null."""
    return lambda value: value is None or check(value)


def by_level(value: Any) -> bool:
    """Whether a value is numbers by level, `{"0.1": -3.5}`."""
    return mapped(or_null(is_number))(value) and all(map(is_level, value))


def is_level(text: str) -> bool:
    """Whether text is a level of CVaR, in (0, 1]."""
    try:
        return 0 < float(text) <= 1
    except ValueError:
        return False


def is_interval(value: Any) -> bool:
    """Whether a value is two numbers."""
    return listed(or_null(is_number))(value) and len(value) == 2


NUMBER = or_null(is_number)
TYPES: dict[str, tuple[Check, str]] = {  # key -> what its value must be, and in words
    **dict.fromkeys(("task", "recipe", "actor", "critic", "risk", "data", "data_sha256", "device", "host"),
                    (or_null(is_text), "text")),
    **dict.fromkeys(("seed", "steps", "episodes", "threads"), (or_null(is_whole), "a whole number from 0")),
    **dict.fromkeys(("return_mean", "return_std", "return_min", "return_trimmed_mean", "return_iqm", "hazard_rate",
                     "penalties", "score", "updates_per_second", "wall_seconds"), (NUMBER, "a number")),
    "loss": (or_null(listed(is_text)), "a list of names"),
    "return_cvar": (or_null(by_level), "numbers by level"),
    "intervals": (or_null(mapped(is_interval)), "pairs of numbers by name"),
    "evaluations_per_update": (or_null(mapped(NUMBER)), "numbers by name"),
    "behaviour": (or_null(having(episodes=NUMBER, return_mean=NUMBER, return_cvar=or_null(by_level))),
                  "episodes, return_mean and return_cvar"),
    "checkpoint": (or_null(having(step=or_null(is_whole), return_means=or_null(mapped(NUMBER)))),
                   "a gradient step and a rule"),
    "estimate": (or_null(having(mean=NUMBER, cvar=or_null(by_level), verdict=or_null(is_text))),
                 "mean, cvar and a verdict"),
    "dial": (or_null(mapped(NUMBER)), "numbers by name"),
    "failure": (having(reason=is_text), "a reason"),
}  # fmt: skip


def checked(path: Any, summary: Mapping[str, Any]) -> dict[str, Any]:
    """The content of summary.json, if the values of its known keys have their types. Raises InputError.

    A key may be missing: versions and tasks differ. Reports leave out an `ood` that they cannot draw.
    """
    for key, (check, words) in TYPES.items():
        if key in summary and not check(summary[key]):
            raise InputError(f"{path}: {key} must be {words}, got {repr(summary[key])[:100]}")
    return dict(summary)


def read_config(path: Path, root: Path) -> RunConfig:
    """The configuration in config.yaml: plain values, entries from the registries. Raises InputError."""
    try:
        settings = read_yaml(path, root)
    except InputError as error:
        raise InputError(f"{root} is no run folder: {error}") from error
    refuse_instructions(path, settings)
    load()  # plug-ins are modules that the reader chose
    task = settings.get("task")
    environment = str(task.get("environment")) if isinstance(task, dict) else ""
    module = environment.partition(":")[0]
    if ":" in environment and module not in sys.modules:
        text = f"{path}: task.environment={environment!r} would run the module {module}"
        raise InputError(f"{text}; where you trust it: RAMAC_PLUGINS={module}")
    try:
        return RunConfig.of(settings)
    except InputError as error:
        raise InputError(f"{path} cannot be used: {error}") from error
    except Exception as error:  # values of others can make any entry raise anything
        raise InputError(f"{path} cannot be used: {type(error).__name__}: {error}") from error
