"""From the words of a command line to the configuration of a run, composed by Hydra, refused in one line."""

import re
import shlex
from collections.abc import Sequence
from typing import Any

from hydra import __version__ as hydra_version
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

import ramac.experiment.hydra_source  # noqa: F401  registers the config source
from ramac.errors import InputError, nearest
from ramac.experiment.config import RunConfig
from ramac.experiment.paths import located
from ramac.experiment.presets import CONFIGS, PRESETS, known_preset, presets
from ramac.registry import GROUPS

COMPATIBLE: dict[str, Any] = {"version_base": "1.3"} if hydra_version.startswith("1.3.") else {}  # deprecated in 1.4

COLUMNS = re.compile(r"^\+{0,2}(?:data\.)?columns((?:\.\w+)?)$")
ALIASES = {"loss.td.gamma": "gamma"}
CHOICES = {"hydra/sweeper=optuna": "hydra/sweeper=search"}  # the plug-in, with the defaults of configs/hydra/sweeper/
SIGNS = "write group=entry, group=entryNUMBER or group.argument=value, with quotes around other signs"
PATHS = ("data", "run_dir", "grid_dir")
LISTS = ("loss", "logger")  # slots that take several entries
EXTRAS = {  # what brings a missing plug-in of Hydra
    "hydra/launcher": "; the extras joblib, slurm and ray bring launchers: pip install 'ramac[joblib]'",
    "hydra/sweeper": "; the extra optuna brings a search: pip install 'ramac[optuna]'",
    "hydra/sweeper/sampler": "; the extra optuna brings samplers: pip install 'ramac[optuna]'",
}


def without_aliases(words: Sequence[str]) -> list[str]:
    """The words with the present name of each setting and of our own configuration of a plug-in."""
    parts = [CHOICES.get(word, word).partition("=") for word in words]
    return ["".join((ALIASES.get(key, with_columns(key)), equals, value)) for key, equals, value in parts]


def with_columns(key: str) -> str:
    """`++columns.actions` for `data.columns.actions` or `columns.actions`: the default, null, has no roles as keys."""
    return COLUMNS.sub(r"++columns\1", key)


def compose(words: Sequence[str]) -> RunConfig:
    """The configuration of one run. Raises InputError."""
    for override in parsed(words):
        if override.is_sweep_override():
            text = str(override.input_line)
            name = f"; one name with a comma: {quoted(text)[6:]}" if quoted(text) else ""
            raise InputError(f"{text}: several values are a sweep, ramac -m {text}; a list is [value,value]{name}")
    config = of_tree(tree(words), words)
    if config.sweep:
        raise InputError(f"sweep={config.sweep} is a sweep of runs: ramac -m sweep={config.sweep}")
    return config


def of_tree(config: DictConfig, words: Sequence[str]) -> RunConfig:
    """The configuration of a composed tree, with absolute paths. Raises InputError."""
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    try:
        plain: Any = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise InputError(explained(error, words)) from error
    return located(RunConfig.of(plain))


def tree(words: Sequence[str], hydra: bool = False) -> DictConfig:
    """The composed tree of settings, with Hydra's own if `hydra`. Raises InputError."""
    running = GlobalHydra.instance().hydra  # a sweep may be running, one of whose cells is explained
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONFIGS), **COMPATIBLE):
            return hydra_compose("config", without_aliases(words), return_hydra_config=hydra)
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(explained(error, words)) from error
    finally:
        GlobalHydra.instance().clear()
        if running is not None:
            GlobalHydra.instance().initialize(running)


def parsed(words: Sequence[str]) -> list[Override]:
    """The words as Hydra reads them. Raises InputError for what cannot be read or makes no sense here."""
    parser = OverridesParser.create()
    found = []
    for word in words:
        if any("\ud800" <= letter <= "\udfff" for letter in word):  # config.yaml could not be read again
            raise InputError(f"{word} is not UTF-8; rename it, or set PYTHONUTF8=1 where the locale is not UTF-8")
        try:
            (override,) = parser.parse_overrides([word])
        except OverrideParseException as error:
            raise InputError(f"{word} cannot be read; {quoted(word) or SIGNS}") from error
        refuse(word, override)
        found.append(override)
    return found


def quoted(word: str) -> str:
    """How a path with signs of Hydra's grammar is written for a shell; empty for other settings."""
    key, _, value = word.partition("=")
    if key not in PATHS:
        return ""
    inner = value.strip("'\"").replace("\\", "\\\\").replace('"', '\\"')
    return "write " + shlex.quote(f'{key}="{inner}"')


def refuse(word: str, override: Override) -> None:
    """Refuse deletions, additions, empty values and lists where one entry is chosen. Raises InputError."""
    key, value = override.key_or_group, override.value()
    if not key or key.startswith("."):
        raise InputError(f"{word!r} names no setting; write key=value")
    if key == "about":
        raise InputError("no setting 'about'; it describes a recipe or a sweep in its own file")
    if override.is_delete() and not re.fullmatch(r"loss\.\w+", key):
        raise InputError(f"{word!r}: a setting is changed, not deleted; write {key}=VALUE")
    if key not in (*GROUPS, *PRESETS):
        return
    chosen = {"", "null"} & set(word.partition("=")[2].split(","))
    if key in PRESETS and chosen:
        raise InputError(f"{word!r}: leave it out for no {key}; choose from {', '.join(presets(key))}")
    if chosen:
        raise InputError(f"{word!r}: {key} needs an entry; choose from {', '.join(GROUPS[key])}")
    if override.is_sweep_override():
        return
    if override.is_add():
        raise InputError(f"{word!r}: {key} is always there; choose another one by {key}=ENTRY")
    names = value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) for name in names) or (len(names) != 1 and key not in LISTS):
        wanted = "names of entries" if key in LISTS else "the name of one entry"
        raise InputError(f"{word!r}: {key} takes {wanted}")


def explained(error: Exception, words: Sequence[str]) -> str:
    """A composition error of Hydra or OmegaConf in one line: the value, what is allowed and the nearest choice.

    Raises InputError with the registry's own message for an unknown entry.
    """
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.removesuffix(".yaml").rpartition("/")
        if group in PRESETS:
            known_preset(group, name)
        if group in GROUPS:
            GROUPS[group].parse(name)
        known = sorted(error.options or ())
        if not group:  # of --config-name
            return f"no configuration {name!r}; leave out --config-name for ramac's own"
        listed = f"; choose from {', '.join(known)}{nearest(name, known)}" if known else ""
        return f"no {group} {name!r}{listed}{EXTRAS.get(group, '')}"
    cause: Any = error
    while cause is not None and not isinstance(cause, OmegaConfBaseException | InputError):
        cause = cause.__cause__
    if isinstance(cause, InputError):  # of a part that Hydra has made
        return str(cause)
    if cause is None:
        return " ".join(str(error).split()).partition(" Config search path")[0]
    key = cause.full_key or ""
    if isinstance(cause, ConfigAttributeError | ConfigKeyError):
        groups = (*GROUPS, *PRESETS)
        choices = [word for word in words if word.partition("=")[0] in groups or word.startswith("hydra/")]
        choices = [word for word in choices if not parsed([word])[0].is_sweep_override()]
        return f"no setting {key!r}{suggested(key, choices)}"
    return f"{key}: {' '.join(str(cause.msg or cause).split()).partition(' full_key:')[0]}"


def suggested(key: str, choices: Sequence[str]) -> str:
    """What may stand where `key` stands beside these choices of entries, and the nearest to it."""
    *parents, last = key.split(".")
    node: Any = tree(choices, hydra=parents[:1] == ["hydra"])
    for depth, parent in enumerate(parents):
        if not OmegaConf.is_config(node) or parent not in node:
            return suggested(".".join(parents[: depth + 1]), choices)
        node = node[parent]
    names = map(str, node if OmegaConf.is_config(node) else ())
    known = [name for name in names if name not in ("name", "about") and not name.startswith("_")]
    place = f"{'.'.join(parents)} has" if parents else "there are"
    return f"; {place} {', '.join(known) or 'no settings'}{nearest(last, known)}"
