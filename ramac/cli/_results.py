"""The result of a run, as commands print it. (No command: its name begins with an underscore.)"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ramac.cli import dial_of, show_table
from ramac.errors import described, warn
from ramac.experiment.folder import RunFolder
from ramac.registry import tasks
from ramac.statistics import thin_tails
from ramac.system.untrusted import read_json
from ramac.text import say


def print_result(summary: dict[str, Any], following: Callable[[], Mapping[str, str]] = dict) -> None:
    """Print the result of a finished run and the commands that follow, by what they are for.

    Whatever fails here is a line: everything is in its folder.
    """
    try:
        show(summary)
        show_next(following())
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except Exception as error:  # of the terminal, or of a task that is not as its summary says
        warn(f"the result of {summary['run_dir']} cannot be shown: {described(error)}; summary.json has it")
        if isinstance(error, OSError):  # what is still buffered would fail again when the process ends
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def result_rows(summary: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name, value and interval of each figure of an evaluation."""
    between = {key: f"{low:.2f} to {high:.2f}" for key, (low, high) in summary["intervals"].items()}
    yield "mean", f"{summary['return_mean']:.2f}", between.get("mean", "")
    middle = summary.get("return_trimmed_mean", summary.get("return_iqm"))  # its name in version 0.1
    yield "trimmed mean", f"{middle:.2f}", ""
    for alpha, value in summary["return_cvar"].items():
        yield f"CVaR {alpha}", f"{value:.2f}", between.get(alpha, "")
    yield "worst", f"{summary['return_min']:.2f}", ""
    yield "risky steps", f"{summary['hazard_rate']:.1%}", ""
    yield "penalties", str(summary["penalties"]), ""


def warn_of_thin_tails(summary: dict[str, Any]) -> None:
    """Say where a CVaR rests on fewer than five episodes."""
    if warning := thin_tails(summary["episodes"], [float(alpha) for alpha in summary["return_cvar"]]):
        say(f"ramac: {warning}", error=True)


def task_rows(summary: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """The task's own columns: title, value, nothing, and the data's value."""
    for column in getattr(tasks.get(summary["task"]), "columns", ()):  # a plug-in's task may not be here
        if summary.get(column.key) is not None:
            policy, data = (summary.get(key) for key in (column.key, f"data_{column.key}"))
            yield column.title, f"{policy:{column.style}}", "", "" if data is None else f"{data:{column.style}}"


def show_unplayed(summary: dict[str, Any]) -> None:
    """Print the estimate of a run without an environment, or that there is none."""
    if "estimate" in summary:
        from ramac.cli.estimate import show as show_estimate

        folder = RunFolder(Path(summary["run_dir"]))
        show_estimate(read_json(folder.estimate_file, folder.path))
        return
    run = summary["run_dir"]
    if ood := summary.get("ood"):
        say(f"out-of-distribution actions: {ood['rate']:.1%} of the policy's, {ood['data']:.1%} of the data's")
    say(f"there is no estimate: ramac estimate {run} makes one; everything is in {run}", bold=run)


def show(summary: dict[str, Any]) -> None:
    """Print the result of a run beside the behaviour data's, and where everything is."""
    if not getattr(tasks.get(summary["task"]), "has_environment", True):
        show_unplayed(summary)
        return
    behaviour, recipe = summary["behaviour"], summary.get("recipe")
    title = "{task}: actor={actor} critic={critic} risk={risk} seed={seed}, {steps} gradient steps".format(**summary)
    logged = {"mean": behaviour["return_mean"], **{f"CVaR {a}": v for a, v in behaviour["return_cvar"].items()}}
    rows = [(name, *cells, f"{logged[name]:.2f}" if name in logged else "") for name, *cells in result_rows(summary)]
    if ood := summary.get("ood"):
        rate = f"{ood['rate']:.1%} ± {ood['standard_error']:.1%}"
        rows.append(("out-of-distribution actions", rate, "", f"{ood['data']:.1%}"))
    policy, data = f"policy ({summary['episodes']} episodes)", f"behaviour data ({behaviour['episodes']})"
    if several := summary["checkpoint"].get("return_means"):
        policy = f"policy ({summary['episodes']} episodes of the last {len(several)} checkpoints)"
    columns = ("episode return", policy, "95 % interval", data)
    show_table(title if recipe is None else f"{recipe} on {title}", columns, [*rows, *task_rows(summary)])
    warn_of_thin_tails(summary)
    if dial := dial_of(summary):
        say(f"played at {dial}; at other values: ramac eval {summary['run_dir']} {dial.partition('=')[0]}=VALUE")
    speed = "{updates_per_second:.1f} gradient steps/s, {wall_seconds:.0f} s in all".format(**summary)
    say(f"{speed}; everything is in {summary['run_dir']}", bold=summary["run_dir"])
    show_pictures(Path(summary["run_dir"]))


def show_pictures(run: Path) -> None:
    """Print where the figures of a run are."""
    for path in sorted(run.glob("*.png")):
        say(f"picture: {path}", bold=str(path))


def show_next(commands: Mapping[str, str]) -> None:
    """Print what to run next, each command below its purpose, to be copied."""
    lines = [line for command, purpose in commands.items() for line in (f"  # {purpose}", f"  {command}")]
    say(*["next:"] * bool(lines), *lines)
