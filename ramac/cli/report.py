"""`ramac report PATH...`: run folders and csv files of episodes compared on one page."""

import argparse
import re
from pathlib import Path
from typing import NoReturn

from ramac.errors import InputError, nearest

USAGE = """ramac report: runs compared on one page, with tables and figures for a paper

  ramac report PATH... [OPTIONS]     PATH: a folder of run folders at any depth, a run folder, or a csv file

  --by KEY,KEY,...                   settings to group by, e.g. actor,risk or actor.steps; without it, what differs
  --baseline KEY=VALUE,...           the group to compare the others to, e.g. actor=gaussian,risk=neutral
  --alpha NUMBER                     share of worst episodes in CVaR, 0.1 without it
  --out FOLDER                       where to write, report/ in the first PATH without it

A csv file of other people's episodes has columns episode,return and may have step,length,risky_steps,seed; every other
column is a setting."""
OPTIONS = ("--by", "--baseline", "--alpha", "--out")


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are InputError."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError instead of printing and leaving."""
        unknown = re.match(r"unrecognized arguments: (--[\w-]+)", message)
        close = nearest(unknown[1], OPTIONS) if unknown else ""
        raise InputError(f"report: {message}; options are {', '.join(OPTIONS)}{close}")


def parsed(arguments: list[str]) -> argparse.Namespace:
    """Paths and options. Raises InputError for what is no option or has no value."""
    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("paths", nargs="*")
    for option in OPTIONS:
        parser.add_argument(option, default="")
    options = parser.parse_intermixed_args(arguments)  # paths may stand on both sides of an option
    if not options.paths:
        raise InputError("report needs a folder of run folders, a run folder or a csv file, e.g. ramac report runs")
    return options


def share(value: str) -> float:
    """The share in CVaR; 0.1 by default, the paper's level and the package's own. Raises InputError outside (0, 1]."""
    try:
        alpha = float(value or 0.1)
    except ValueError:
        alpha = float("nan")
    if not 0 < alpha <= 1:
        raise InputError(f"--alpha must be in (0, 1], got {value}")
    return alpha


def command(arguments: list[str]) -> int:
    """Run `ramac report ARGUMENTS`; returns the exit status. Raises InputError for what cannot be done."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0
    options = parsed(arguments)
    alpha = share(options.alpha)
    from ramac.reporting.page import compose, write  # figures take a second to import: not before the options are right
    from ramac.reporting.runs import gather

    first = Path(options.paths[0])
    folder = Path(options.out) if options.out else (first if first.is_dir() else first.parent) / "report"
    page = compose(gather(options.paths), list(filter(None, options.by.split(","))), options.baseline, alpha)
    index = write(page, folder, arguments)
    print("; ".join([f"report: {index} ({page.size})", *page.warnings]))
    return 0
