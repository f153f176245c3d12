"""ramac train KEY=VALUE...: train and evaluate a run, write its folder; with -m a sweep of runs

The word train may be left out. The composed configuration of any command line: ramac KEY=VALUE... --cfg job
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.markup import escape

from ramac.cli import fail, table
from ramac.errors import InputError
from ramac.experiment.compose import COMPATIBLE, compose, explained, of_tree, parsed, tree, without_aliases
from ramac.experiment.config import RunConfig
from ramac.experiment.folder import RunFolder
from ramac.experiment.presets import CONFIGS
from ramac.experiment.run import train
from ramac.registry import tasks
from ramac.statistics import thin_tails
from ramac.system.runtime import keep_memory
from ramac.system.untrusted import read_json


def main(arguments: list[str]) -> int:
    """Train a run. Raises InputError, and what a run raises."""
    flags, words = split(arguments)
    if flags:  # a sweep, help or completion
        return with_hydra(flags, words)
    execute(compose(words))
    return 0


def execute(config: RunConfig) -> None:
    """Train a run and print its result."""
    keep_memory()
    for summary in train(config):
        show(summary)


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
    import sys

    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    parsed(words)
    refuse_package({name: value for name, _, value in (flag.partition("=") for flag in flags)}, words)
    before = os.environ.get("HYDRA_FULL_ERROR"), sys.argv
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and exiting with 1
    sys.argv = [sys.argv[0], *flags, *without_aliases(words)]
    try:
        hydra.main(**COMPATIBLE, config_path=str(CONFIGS), config_name="config")(job)()
    except (HydraException, OmegaConfBaseException) as error:
        if before[0] == "1":
            raise
        raise InputError(explained(error, words)) from error
    finally:
        sys.argv = before[1]
        if before[0] is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before[0]
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
        Console(stderr=True).print(f"ramac: {warning}", highlight=False, soft_wrap=True)


def task_rows(summary: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """The task's own columns: title, value, nothing, and the data's value."""
    for column in getattr(tasks.get(summary["task"]), "columns", ()):  # a plug-in's task may not be here
        if column.key in summary:
            policy, data = (summary.get(key) for key in (column.key, f"data_{column.key}"))
            yield column.title, f"{policy:{column.style}}", "", "" if data is None else f"{data:{column.style}}"


def show(summary: dict[str, Any]) -> None:
    """Print the result of a run beside the behaviour data's, and the next commands to try."""
    if "estimate" in summary:  # no environment, so no episodes
        from ramac.cli.estimate import show as show_estimate

        folder = RunFolder(Path(summary["run_dir"]))
        show_estimate(read_json(folder.estimate_file, folder.path))
        return
    console, behaviour, recipe = Console(), summary["behaviour"], summary.get("recipe")
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
    console.print(table(title if recipe is None else f"{recipe} on {title}", columns, [*rows, *task_rows(summary)]))
    warn_of_thin_tails(summary)
    speed = "{updates_per_second:.1f} gradient steps/s, {wall_seconds:.0f} s in all".format(**summary)
    console.print(f"{speed}; everything is in [bold]{escape(summary['run_dir'])}[/bold]", highlight=False)
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
        console.print(f"  {command:<48} {purpose}", highlight=False, soft_wrap=True)
