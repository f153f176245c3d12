"""The command line: `ramac key=value ...` trains; the words of COMMANDS do something else."""

import os
import re
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from ramac.errors import InputError, nearest

CONFIGS = next(p for p in (parent / "configs" for parent in Path(__file__).parents[1:3]) if p.is_dir())
HELP = {"-h", "--help"}
LONGEST = 2000  # characters of a refusal
PRESETS = ("recipe", "sweep")
COMMANDS = {  # each is a module with command(arguments) -> exit status
    "data": "ramac.cli.data",
    "doctor": "ramac.evaluation.critic_check",
    "estimate": "ramac.experiment.estimate",
    "eval": "ramac.experiment.evaluate",
    "grid": "ramac.experiment.grid.status",
    "list": "ramac.cli.list",
    "report": "ramac.cli.report",
    "resume": "ramac.cli.resume",
}
LAUNCHER = re.compile(r"Could not find '(hydra/\w+)/(.+?)' Available options in '\1': (.+)")


def fail(message: str) -> NoReturn:
    """One line on standard error, exit status 2; what a terminal would obey instead of showing is written out."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
    print(f"ramac: {shown if len(shown) <= LONGEST else shown[:LONGEST] + ' ...'}", file=sys.stderr)
    raise SystemExit(2)


def composition_error(error: Exception, overrides: list[str]) -> str:
    """A composition error of Hydra or OmegaConf as one line: the value, what is allowed and the nearest choice."""
    from ramac.registry import GROUPS

    text = " ".join(f"{error} {error.__cause__ or ''}".split()).partition(" Config search path")[0].rstrip(".")
    if match := LAUNCHER.search(text):
        known = match[3].split()
        text = f"no {match[1]} {match[2]!r}; choose from {', '.join(known)}{nearest(match[2], known)}"
    if "Could not load 'hydra/launcher" in text or match:
        return f"{text}; the extras joblib, slurm and ray bring launchers: pip install 'ramac[joblib]'"
    for override in overrides if re.search("Could not (find|load)", str(error)) else ():
        key, _, value = override.lstrip("+~").partition("=")
        if key in PRESETS:
            for name in value.split(","):
                known_preset(key, name)
        if key in GROUPS and re.fullmatch(r"[\w.,\[\]-]+", value):  # one entry, a list, or a sweep over either
            for spec in filter(None, re.split(r"[\[\],]+", value)):
                GROUPS[key].parse(spec)  # raises the registry's own message
    text = re.sub(r"\s+full_key: .*", "", text)
    if match := re.search(r"(?:Could not override|Error merging override) '?([\w.]+)", text):
        key = match[1]
        if "not in struct" in text or "Could not override" in text:
            choices = [o for o in overrides if o.partition("=")[0] in (*GROUPS, *PRESETS) or o.startswith("hydra/")]
            return f"no setting {key!r}{suggest(key, choices)}"
        reason = re.search(r"((?:Value|Invalid value) '.+?)(?: full_key| object_type|$)", text)
        return f"{key}: {(reason[1] if reason else text).strip()}"
    if match := re.search(r"Ambiguous value for argument '(.+?)' 1\.", text):
        return f"{match[1]}: several values are a grid, ramac -m {match[1]}; a list is [value,value]"
    if "parsing override" in text:
        return f"{str(error).splitlines()[0]}; write group=entry, group=entryNUMBER or group.argument=value"
    return text


def presets(group: str) -> dict[str, Path]:
    """The files of `configs/recipe` (published algorithms) or `configs/sweep` (ready grids), by name."""
    return {path.stem: path for path in sorted((CONFIGS / group).glob("*.yaml"))}


def known_preset(group: str, name: str) -> None:
    """Refuse a recipe or a sweep that does not exist. Raises InputError."""
    known = presets(group)
    if name not in known:
        raise InputError(f"no {group} {name!r}; choose from {', '.join(known)}{nearest(name, known)}")


def suggest(key: str, choices: list[str]) -> str:
    """What may stand where `key` stands beside these choices of entries, and the nearest to it."""
    from omegaconf import OmegaConf

    *parents, last = key.split(".")
    config: Any = compose(choices, hydra=parents[:1] == ["hydra"])
    for depth, parent in enumerate(parents):
        if not OmegaConf.is_config(config) or parent not in config:
            return suggest(".".join(parents[: depth + 1]), choices)
        config = config[parent]
    known = [str(name) for name in config if name != "name" and not str(name).startswith("_")]
    place = f"{'.'.join(parents)} has" if parents else "there are"
    return f"; {place} {', '.join(known) or 'no settings'}{nearest(last, known)}"


def refuse_null(overrides: list[str]) -> None:
    """Every group needs an entry. Raises InputError for `risk=null`, `recipe=null` and `sweep=null`."""
    from ramac.registry import GROUPS

    for override in overrides:
        key, _, value = override.partition("=")
        if key in PRESETS and {"", "null"} & set(value.split(",")):
            raise InputError(f"{override!r}: leave it out for no {key}; choose from {', '.join(presets(key))}")
        if key in GROUPS and {"", "null"} & set(value.split(",")):
            raise InputError(f"{override!r}: {key} needs an entry; choose from {', '.join(GROUPS[key])}")


def refuse_grid(config: Any) -> None:
    """A sweep is a grid, not one run. Raises InputError."""
    if config.sweep:
        raise InputError(f"sweep={config.sweep} is a grid: ramac -m sweep={config.sweep}")


def compose(overrides: list[str], hydra: bool = False) -> Any:
    """Configuration of one run from overrides, as the command line composes it, also Hydra's own if `hydra`.

    Raises InputError.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    import ramac.experiment.hydra_source  # noqa: F401  registers the config source
    from ramac.experiment.config import check, refuse_shapes

    refuse_null(overrides)
    running = GlobalHydra.instance().hydra  # a sweep's, while one of its cells is explained
    GlobalHydra.instance().clear()
    try:
        refuse_shapes(overrides)
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = hydra_compose("config", overrides, return_hydra_config=hydra)
            return config if hydra else check(config)
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(composition_error(error, overrides)) from error
    finally:
        if running is not None:
            GlobalHydra.instance().clear()
            GlobalHydra.instance().initialize(running)


def job(config: Any) -> None:
    """One run of the command line, or one cell of a grid."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        from ramac.experiment.grid.cell import run

        run(config, hydra.launcher)
        return
    from omegaconf.errors import OmegaConfBaseException

    from ramac.experiment.config import check

    try:
        refuse_grid(config)
        execute(check(config))
    except OmegaConfBaseException as error:
        fail(composition_error(error, []))
    except InputError as error:  # here, because Hydra prints a line of its own about a failed job
        fail(str(error))


def execute(config: Any) -> None:
    """Train a run and show its result. Raises InputError, and SystemExit(1) when the run cannot go on."""
    from ramac.cli.terminal import show
    from ramac.errors import RunStopped
    from ramac.experiment.run import train

    try:
        summary = train(config)
    except (FloatingPointError, RunStopped) as error:
        print(f"ramac: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    for run in summary.get("runs", [summary]):
        show(run)


def one_line(message: Warning | str, category: type[Warning], *_: object) -> str:
    """A warning without its source line; one of ours needs no name of a category either."""
    return f"ramac: {message}\n" if category is UserWarning else f"{category.__name__}: {message}\n"


def main() -> None:
    """Entry point of the `ramac` command."""
    arguments = sys.argv[1:]
    warnings.formatwarning = one_line
    if arguments[:1] == ["--version"]:
        from ramac import __version__

        print(f"ramac {__version__}")
        return
    asked = HELP & set(arguments)
    try:
        if arguments and arguments[0] in COMMANDS:
            command = import_module(COMMANDS[arguments[0]]).command
            raise SystemExit(command(["--help"] if asked else arguments[1:]))
        if arguments == ["help"] or (asked and not any("=" in argument for argument in arguments)):
            from ramac.cli.help import page

            print(page())
            return
        if "--explain" in arguments:
            from ramac.cli.explain import command

            if {"-m", "--multirun"} & set(arguments):
                raise InputError("--explain is about one run; leave out -m")
            config = compose([argument for argument in arguments if argument != "--explain"])
            refuse_grid(config)
            command(config)
            return
        if arguments and re.fullmatch(r"[a-z]+", arguments[0]):
            known = ", ".join(COMMANDS)
            raise InputError(f"no command {arguments[0]!r}; there are {known}{nearest(arguments[0], COMMANDS)}")
        run_hydra(arguments)
    except InputError as error:
        fail(str(error))
    except KeyboardInterrupt as error:  # a run says where it stands: ramac.system.signals
        print(f"\nramac: {error if error.args else 'interrupted'}", file=sys.stderr)
        raise SystemExit(getattr(error, "status", 130)) from None


def run_hydra(arguments: list[str]) -> None:
    """Hand the arguments to Hydra: composition, sweeps, help and completion."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    import ramac.experiment.hydra_source  # noqa: F401  registers the config source
    from ramac.experiment.config import overrides_of, refuse_shapes

    refuse_null(arguments)
    overrides = overrides_of(arguments)
    asked = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise to us instead of printing and exiting with 1
    try:
        refuse_shapes(overrides)
        hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")(job)()
    except (HydraException, OmegaConfBaseException) as error:
        if asked == "1":
            raise
        raise InputError(composition_error(error, overrides)) from error
    finally:
        if asked is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = asked
