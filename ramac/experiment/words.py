"""Python values as words of the command line, in Hydra's grammar."""

import re
from pathlib import Path
from typing import Any

PLAIN = re.compile(r"[\w.,:()\[\]+*/'-]*")  # text that the grammar takes without quotes
ONE_VALUE = re.compile(r"[\w.-]+")  # of that, what cannot be several values


def quoted(text: str) -> str:
    """Text as one value of Hydra's grammar, whatever a folder is called."""
    return "'" + re.sub(r"(\\*)'", r"\1\1\\'", text) + "'"


def text_of(value: Any, plain: "re.Pattern[str]" = PLAIN) -> str:
    """A Python value as a word of the command line writes it; text that is not `plain` is quoted."""
    if isinstance(value, list | tuple):
        return f"[{','.join(text_of(item, plain) for item in value)}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value)
    return text if plain.fullmatch(text) and not isinstance(value, Path) else quoted(text)
