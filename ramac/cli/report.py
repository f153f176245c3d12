"""ramac report PATH... [OPTIONS]: compare runs on one page, with tables and figures for a paper

PATH is a folder of run folders at any depth, a run folder, or a csv file.

  --by KEY,KEY,...        settings to group by, e.g. actor,risk or actor.steps; without it, what differs
  --baseline KEY=VALUE,...  the group to compare the others to, e.g. actor=gaussian,risk=neutral
  --alpha NUMBER          share of worst episodes in CVaR, 0.1 without it
  --out FOLDER            where to write, report/ in the first PATH without it

A csv file of other people's episodes has columns episode,return and may have step,length,risky_steps,seed; every other
column is a setting.
"""

import argparse
import re
from collections.abc import Iterable
from typing import NoReturn

from ramac.errors import InputError, nearest

DEFAULTS = {"--by": "", "--baseline": "", "--alpha": 0.1, "--out": None}


class Parser(argparse.ArgumentParser):
    """A parser that raises InputError."""

    def __init__(self, command: str, options: Iterable[str]) -> None:
        super().__init__(add_help=False, allow_abbrev=False)
        self.command, self.options = command, list(options)

    def error(self, message: str) -> NoReturn:
        """Raise InputError instead of printing and exiting."""
        unknown = re.match(r"unrecognized arguments: (--[\w-]+)", message)
        close = nearest(unknown[1], self.options) if unknown else ""
        raise InputError(f"{self.command}: {message}; options are {', '.join(self.options)}{close}")


def parsed(arguments: list[str]) -> argparse.Namespace:
    """Paths and options. Raises InputError for an unknown option, and one without a value or with a wrong one."""
    parser = Parser("report", DEFAULTS)
    parser.add_argument("paths", nargs="*")
    for option, default in DEFAULTS.items():
        parser.add_argument(option, default=default, type=float if option == "--alpha" else str)
    return parser.parse_intermixed_args(arguments)  # paths may stand on both sides of an option


def main(arguments: list[str]) -> int:
    """Write a report. Raises InputError."""
    options = vars(parsed(arguments))
    from ramac.reporting import report  # matplotlib and pandas take a second to import: only for options that are right

    report(**options)
    return 0
