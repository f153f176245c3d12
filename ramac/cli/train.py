"""ramac train KEY=VALUE...: train and evaluate a run, write its folder; with -m a sweep of runs

The word train may be left out. Without any setting the run is a short one on the bandit, and says its settings.
The composed configuration of any command line: ramac KEY=VALUE... --cfg job
"""

import os
import re
import sys
import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec
from typing import Any, NoReturn

from ramac.cli import fail, importing, one_line
from ramac.cli._results import print_result
from ramac.errors import InputError, RunStopped
from ramac.experiment.compose import COMPATIBLE, compose, explained, of_tree, parsed, tree, without_aliases
from ramac.experiment.config import RunConfig
from ramac.experiment.next_commands import after_run
from ramac.experiment.presets import CONFIGS
from ramac.experiment.words import quoted
from ramac.system.runtime import environment_variables, keep_memory
from ramac.system.workers import LEADER, QUIET, leading
from ramac.text import say

# the first run: the centre of the bandit in less than a minute on one core (docs/results/bandit.md#the-first-run)
FIRST = ("trainer.steps=2500", "trainer.batch_size=64", "threads=1")


def main(arguments: list[str]) -> int:
    """Train a run. Raises InputError, and what a run raises."""
    if not arguments:
        arguments = list(FIRST)
        say(f"ramac alone is a short run: ramac {' '.join(FIRST)}", error=True)
    flags, words = split(arguments)
    if flags:  # a sweep, help or completion
        return with_hydra(flags, words)
    execute(compose(words), words)
    return 0


def execute(config: RunConfig, words: Sequence[str] = ()) -> None:
    """Train a run and print its result. `words`: its command line. Raises RunStopped where its evaluation has none."""
    with importing():
        from ramac.experiment.run import train  # TorchRL: a refused command line need not wait for it

    keep_memory()
    summaries = train(config)
    played = [summary for summary in summaries if "failure" not in summary]
    for summary in played[:-1]:
        print_result(summary)
    for last in played[-1:]:
        print_result(last, partial(after_run, config, last["run_dir"], words, find_spec, os.path.exists))
    runs = [(summary["run_dir"], summary["failure"]["reason"]) for summary in summaries if "failure" in summary]
    if runs:
        told = (f"{why}; the policy is in {run}, and ramac eval {run} evaluates it again" for run, why in runs)
        raise RunStopped("; ".join(told))


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


def with_hydra(flags: Sequence[str], words: Sequence[str], quiet: bool = False) -> int:
    """Hand the command line to Hydra, for flags: sweeps, --cfg, help and completion. Raises InputError.

    `quiet`: a sweep and its jobs, in whatever process, print nothing.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    parsed(words)
    if any(flag.startswith("--shell-completion") for flag in flags):
        refuse_completion(words)
    refuse_package({name: value for name, _, value in (flag.partition("=") for flag in flags)}, words)
    before, argv = os.environ.get("HYDRA_FULL_ERROR"), sys.argv
    silent = {QUIET: "1"} if quiet else {}
    # Hydra then raises instead of printing and exiting with 1
    full = environment_variables({"HYDRA_FULL_ERROR": "1", **silent})
    sweep = leading("the same command runs what is missing") if "--multirun" in flags else nullcontext()
    try:
        with full, sweep as leader:
            told = {LEADER: leader, **silent} if leader else {}
            job_variables = [f"+hydra.job.env_set.{name}={quoted(value)}" for name, value in told.items()]
            sys.argv = [sys.argv[0], *flags, *without_aliases(words), *job_variables]
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
