"""ramac train KEY=VALUE...: train and evaluate a run, write its folder; with -m a sweep of runs

The word train may be left out. The composed configuration of any command line: ramac KEY=VALUE... --cfg job
"""

import contextlib
import os
import re
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

from ramac.cli import dial_of, fail, importing, one_line, show_table
from ramac.errors import InputError, RunStopped, described, warn
from ramac.experiment.compose import COMPATIBLE, compose, explained, of_tree, parsed, tree, without_aliases
from ramac.experiment.config import RunConfig
from ramac.experiment.folder import RunFolder
from ramac.experiment.presets import CONFIGS
from ramac.experiment.words import quoted
from ramac.registry import tasks
from ramac.statistics import thin_tails
from ramac.system.runtime import environment_variables, keep_memory
from ramac.system.untrusted import read_json
from ramac.system.workers import LEADER, leading
from ramac.text import say


def main(arguments: list[str]) -> int:
    """Train a run. Raises InputError, and what a run raises."""
    flags, words = split(arguments)
    if flags:  # a sweep, help or completion
        return with_hydra(flags, words)
    execute(compose(words))
    return 0


def execute(config: RunConfig) -> None:
    """Train a run and print its result. Raises RunStopped where its evaluation has none."""
    with importing():
        from ramac.experiment.run import train  # TorchRL: a refused command line need not wait for it

    keep_memory()
    failed = []
    for summary in train(config):
        if "failure" in summary:
            run, reason = summary["run_dir"], summary["failure"]["reason"]
            failed.append(f"{reason}; the policy is in {run}, and ramac eval {run} evaluates it again")
        else:
            print_result(summary)
    if failed:
        raise RunStopped("; ".join(failed))


def print_result(summary: dict[str, Any]) -> None:
    """Print the result of a finished run. Whatever fails here is a line: everything is in its folder."""
    try:
        show(summary)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except Exception as error:  # of the terminal, or of a task that is not as its summary says
        warn(f"the result of {summary['run_dir']} cannot be shown: {described(error)}; summary.json has it")
        if isinstance(error, OSError):  # what is still buffered would fail again when the process ends
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Hydra's flags, each with its value in one word, and the other words.

    Raises InputError for an unknown flag and for flags that do not go together.
    """
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()

    def error(message: str) -> NoReturn:
        raise InputError(f"{message}; ramac --help names the flags, settings are written key=value")

    parser.error = error
    given = vars(parser.parse_intermixed_args(list(arguments)))
    flags = {}
    for action in parser._actions:
        if action.option_strings and (value := given.get(action.dest)):
            name = max(action.option_strings, key=len)
            flags[name] = name if value is True else f"{name}={value}"
    refuse_flags(flags)
    return list(flags.values()), given["overrides"]


def refuse_flags(flags: Collection[str]) -> None:
    """Refuse flags that ramac has no use for, or not in this combination. Raises InputError."""
    if "--experimental-rerun" in flags:
        raise InputError("--experimental-rerun is not for runs of ramac; ramac resume RUN continues one")
    if "--config-path" in flags:
        raise InputError("--config-path would replace ramac's own configuration; --config-dir DIR adds yours to it")
    if alone := [name for name in ("--package", "--resolve") if name in flags and "--cfg" not in flags]:
        raise InputError(f"{alone[0]} goes with --cfg: ramac KEY=VALUE... --cfg job {alone[0]}")
    actions = [name for name in ("--run", "--multirun", "--cfg", "--info", "--shell-completion") if name in flags]
    if len(actions) > 1:
        raise InputError(f"{' and '.join(actions)} do not go together; choose one")


def refuse_completion(words: Sequence[str]) -> None:
    """Refuse what Hydra's shell completion does not know. Raises InputError."""
    known = len(words) == 1 and re.fullmatch("(install|uninstall|query)=(bash|fish|zsh)", words[0])
    if not known or (known[1] == "query" and "COMP_LINE" not in os.environ):  # the shell sets it for its query
        given = " ".join(words) or "nothing"
        raise InputError(f"--shell-completion takes install=bash, fish or zsh, or uninstall=, got {given}")


def refuse_package(flags: Mapping[str, str], words: Sequence[str]) -> None:
    """Refuse a `--package` that the configuration does not have. Raises InputError."""
    from omegaconf import OmegaConf

    package = flags.get("--package")
    if package in (None, "_global_") or {"--config-name", "--config-dir"} & set(flags):
        return
    if OmegaConf.select(tree(words, hydra=True), package) is None:  # as Hydra asks
        raise InputError(f"--package={package} is no part of the configuration; --cfg job shows all of it")


def with_hydra(flags: Sequence[str], words: Sequence[str]) -> int:
    """Hand the command line to Hydra, for flags: sweeps, --cfg, help and completion. Raises InputError."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    parsed(words)
    if any(flag.startswith("--shell-completion") for flag in flags):
        refuse_completion(words)
    refuse_package({name: value for name, _, value in (flag.partition("=") for flag in flags)}, words)
    before, argv = os.environ.get("HYDRA_FULL_ERROR"), sys.argv
    full = environment_variables({"HYDRA_FULL_ERROR": "1"})  # Hydra then raises instead of printing and exiting with 1
    sweep = leading("the same command runs what is missing") if "--multirun" in flags else nullcontext()
    try:
        with full, sweep as leader:
            led_by = [f"+hydra.job.env_set.{LEADER}={quoted(leader)}"] if leader else []
            sys.argv = [sys.argv[0], *flags, *without_aliases(words), *led_by]
            hydra.main(**COMPATIBLE, config_path=str(CONFIGS), config_name="config")(job)()
    except (HydraException, OmegaConfBaseException) as error:
        if before == "1":
            raise
        raise InputError(explained(error, words)) from error
    finally:
        sys.argv = argv
    return 0


def job(config: Any) -> float | None:
    """One run of a command line with flags, or one run of a sweep in whatever process a launcher runs it.

    Returns the objective of a sweep's run, for sweepers that search.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        from ramac.experiment.grid.cell import placed, run

        keep_memory()
        warnings.formatwarning = one_line  # in a launcher's process too
        return run(placed(of_tree(config, []), hydra.overrides.task, hydra.sweep.dir), hydra.launcher)
    try:
        execute(of_tree(config, []))
    except InputError as error:  # here, because Hydra prints a line of its own about a failed job
        fail(str(error))
    return None


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
    """Print the result of a run beside the behaviour data's, and the next commands to try."""
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
    this = f"ramac task={summary['task']}" + (f" recipe={recipe}" if recipe else "")
    other = "neutral" if summary["risk"] != "neutral" else "cvar0.1"
    next_commands = {
        f"{this} --explain": "what each loss term does",
        f"{this} risk={other}": "the same task, another risk measure",
        f"{this} critic=qr": "another critic",
        "ramac -m risk=cvar0.05,cvar0.25 seed=0,1": "a sweep of runs",
        "ramac list": "everything that can be combined",
    }
    for command, purpose in next_commands.items():
        say(f"  {command:<48} {purpose}")
