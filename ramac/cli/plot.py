"""ramac plot RUN... [NAME...] [OPTIONS]: curves over gradient steps and pictures of runs, as files and in the terminal

RUN is a run folder or a folder of them; a run need not have ended. Without a NAME: the losses, and the returns where
they were evaluated during training. Seeds of one setting are one line with a band.

NAME is a metric of metrics.csv, a pattern ('loss_*'), return_mean, return_cvar, or a picture:

  returns                 distribution of the returns, the tail on a scale of its own
  plane                   mean against CVaR with intervals, and the Pareto front
  calibration             predicted against realised returns, after ramac doctor RUN
  quantiles               quantile functions of Z(s, a) at logged states (one run)
  actions                 density of the policy's actions over the logged ones (one run)

  --out FILE              .png, .pdf or .svg; without it RUN/plots/NAME.png, beside the first of several
  --terminal              draw curves in the terminal too, as it is done where standard output is a terminal
  --smooth ROWS           each value is the mean of so many logged rows
  --by KEY,KEY,...        settings to group by, as in ramac report
  --alpha NUMBER          level of CVaR, 0.1 without it
  --states ROW,ROW,...    rows of the log for quantiles and actions, three evenly spaced ones without it
  --dimensions I,J        action dimensions for actions, 0,1 without it
"""

from pathlib import Path
from typing import Any

from ramac.cli.report import Parser
from ramac.errors import InputError


def numbers(text: str) -> tuple[int, ...]:
    """Whole numbers, separated by commas. Raises ValueError."""
    return tuple(int(part) for part in text.split(","))


OPTIONS: dict[str, Any] = {
    "--out": Path, "--smooth": int, "--by": str, "--alpha": float, "--states": numbers, "--dimensions": numbers,
}  # fmt: skip


def parsed(arguments: list[str]) -> dict[str, Any]:
    """Runs, names and options as `ramac.reporting.plot` takes them. Raises InputError."""
    parser = Parser("plot", [*OPTIONS, "--terminal"])
    parser.add_argument("words", nargs="*")
    parser.add_argument("--terminal", action="store_true", default=None)
    for option, kind in OPTIONS.items():
        parser.add_argument(option, type=kind)
    options = vars(parser.parse_intermixed_args(arguments))
    paths, names = split(options.pop("words"))
    return {"paths": paths, "names": names} | {key: value for key, value in options.items() if value is not None}


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """The folders at the beginning, and the names after them. Raises InputError for what looks like a path."""
    count = next((place for place, word in enumerate(words) if place and not Path(word).is_dir()), len(words))
    for word in words[count:]:
        if "/" in word:
            raise InputError(f"no folder {word!r}; plot takes run folders first, then names of metrics and pictures")
    return words[:count], words[count:]


def main(arguments: list[str]) -> int:
    """Draw. Raises InputError."""
    options = parsed(arguments)
    from ramac.reporting import plot  # matplotlib and pandas take a second to import: only for options that are right

    plot(**options)
    return 0
