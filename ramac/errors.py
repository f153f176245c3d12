"""What ends a run or a command in one line without a traceback, and what ends nothing."""

import warnings
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches

from ramac.text import say


class InputError(ValueError):
    """Input that cannot be used; the message names the value, what is allowed and the nearest choice."""


class RunStopped(RuntimeError):
    """A run that cannot continue although its input is valid: one line, exit status 1."""


def at_least(bound: float, **values: float) -> None:
    """Refuse arguments that are below `bound`, infinite or nan. Raises ValueError that names the argument."""
    for name, value in values.items():
        if not bound <= value < float("inf"):
            raise ValueError(f"{name} must be at least {bound}, got {value}")


def at_most(bound: float, **values: float) -> None:
    """Refuse arguments above `bound`, which would take too much memory or time. Raises ValueError."""
    for name, value in values.items():
        if value > bound:
            raise ValueError(f"{name} must be at most {bound}, got {value}")


def whole_number(name: str, value: object, least: int, most: int, error: type[InputError] = InputError) -> int:
    """The value itself, an integer in [least, most]. Raises InputError, or its subclass `error`."""
    if type(value) is not int or not least <= value <= most:
        raise error(f"{name} must be a whole number from {least} to {most}, got {value!r}")
    return value


def known_group(group: str, groups: Iterable[str]) -> None:
    """Refuse a registry group that does not exist. Raises InputError."""
    known = list(groups)
    if group not in known:
        raise InputError(f"no group {group!r}; choose from {', '.join(known)}{nearest(group, known)}")


def known_setting(key: str, command: str, allowed: Collection[str]) -> None:
    """Refuse a setting that a command does not have; `task.` in `allowed` stands for all keys that begin so.

    Raises InputError.
    """
    if key in allowed or any(key.startswith(name) for name in allowed if name.endswith(".")):
        return
    known = list(dict.fromkeys(name.rstrip(".") for name in allowed))
    hint = nearest(key.partition(".")[0], known)
    raise InputError(f"{command} has no setting {key!r}; choose from {', '.join(known)}{hint}")


def nearest(value: str, choices: Iterable[str]) -> str:
    """Text `"; did you mean 'flow'?"`, or nothing when no choice is close."""
    known = list(choices)
    close = [choice for choice in known if value and choice.startswith(value)] or get_close_matches(
        value, known, 2, 0.5
    )
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


def described(error: BaseException) -> str:
    """`ValueError: text` in one line."""
    try:
        text = str(error)
    except Exception:  # of somebody else's class
        text = ""
    return " ".join(f"{type(error).__name__}: {text}".split())


def warn(text: str) -> None:
    """Warn in one line. It raises nothing, also where Python turns warnings into errors."""
    try:
        warnings.warn(text, stacklevel=3)
    except Warning:
        with suppress(OSError, ValueError):
            say(f"ramac: {text}", error=True)


@contextmanager
def optional(what: str) -> Iterator[None]:
    """A block whose failure ends nothing: `what` is left out, with a warning. For what follows a finished training."""
    try:
        yield
    except (Exception, SystemExit) as error:  # figures, plug-ins and loggers have exceptions of their own
        warn(f"{what} left out: {described(error)}")
