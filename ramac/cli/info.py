"""ramac info [--json]: versions, machine, devices, plug-ins and folders, for a bug report

The text can be pasted into an issue: the home folder is shown as ~, and of environment variables that may hold a secret
only the name is told. --json prints the same for programs.
"""

import json

from ramac.errors import InputError
from ramac.system.info import information
from ramac.text import say


def main(arguments: list[str]) -> int:
    """Print the report. Raises InputError for other arguments."""
    if set(arguments) - {"--json"}:
        raise InputError(f"info takes no arguments but --json, got {' '.join(arguments)!r}")
    found = information()
    if arguments:
        print(json.dumps(found, indent=2))  # noqa: T201  (whole lines, for programs; JSON escapes by itself)
        return 0
    for title, section in found.items():
        if isinstance(section, str):
            say(f"{title}: {section}")
            continue
        say(f"{title}:" + " none" * (not section))
        for key, value in section.items():
            say(f"  {key}: {value}")
    return 0
