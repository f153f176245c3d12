"""The one exception that means "the user's input is wrong": one line, exit status 2, no traceback."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Input that cannot be used; the message names the value, what is allowed and the nearest choice."""


def nearest(value: str, choices: Iterable[str]) -> str:
    """Text `"; did you mean 'flow'?"`, or nothing when no choice is close."""
    known = list(choices)
    close = [choice for choice in known if value and choice.startswith(value)] or get_close_matches(
        value, known, 2, 0.5
    )
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
