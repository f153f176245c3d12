"""What a command line may ask for: checks before Hydra composes it and after, each of which refuses in one line."""

import re
from functools import cache
from typing import Any, NoReturn

from ramac.errors import InputError, nearest

OPTIONAL = "hazard"  # the only group that a run may go without


def overrides_of(arguments: list[str]) -> list[str]:
    """The arguments that are no flags. Raises InputError for flags that are none; Hydra's parser prints its usage."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()

    def error(message: str) -> NoReturn:
        raise InputError(f"{message}; ramac --help names the flags, settings are written key=value")

    parser.error = error
    return parser.parse_args(arguments).overrides


def refuse_shapes(overrides: list[str]) -> None:
    """Refuse what cannot be read, entries that are no names, such as `actor={a:1}`, and `~actor`. Raises InputError."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    from ramac.registry import GROUPS

    parser = OverridesParser.create()
    for text in overrides:
        try:
            (override,) = parser.parse_overrides([text])
        except OverrideParseException as error:
            hint = "write group=entry, group=entryNUMBER or group.argument=value, with quotes around other signs"
            raise InputError(f"{text} cannot be read; {hint}") from error
        key, value = override.key_or_group, override.value()
        if not key or key.startswith("."):
            raise InputError(f"{text!r} names no setting; write key=value")
        if override.is_delete() and not re.fullmatch(r"loss\.\w+", key):
            raise InputError(f"{text!r}: a setting is changed, not deleted; write {key}=VALUE")
        if key not in (*GROUPS, "recipe", "sweep") or override.is_sweep_override():
            continue
        if override.is_add():
            raise InputError(f"{text!r}: {key} is always there; choose another one by {key}=ENTRY")
        names = value if isinstance(value, list) else [value]
        if not all(isinstance(name, str) for name in names) or (len(names) != 1 and key != "loss"):
            raise InputError(
                f"{text!r}: {key} takes {'names of entries' if key == 'loss' else 'the name of one entry'}"
            )


def value_of(key: str, text: str) -> Any:
    """The plain value that a setting of a command other than training is given. Raises InputError."""
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return OmegaConf.to_container(OmegaConf.create(f"value: {text or 'null'}"))["value"]  # type: ignore[index]
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise InputError(f"{key}: {text!r} is no value: {problem}") from error


@cache
def settings() -> tuple[str, ...]:
    """Names of the settings that are no group, as `configs/config.yaml` has them."""
    import yaml

    from ramac.cli import CONFIGS
    from ramac.registry import GROUPS

    known = yaml.safe_load((CONFIGS / "config.yaml").read_text())
    return tuple(key for key in known if key not in (*GROUPS, "defaults", "hydra"))


def check(config: Any) -> Any:
    """The composed configuration of a run itself: nothing deleted or added, every value there. Raises InputError."""
    from omegaconf import OmegaConf

    from ramac.registry import GROUPS

    known = (*settings(), *GROUPS)
    values: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    for key in values:
        if key not in known:
            raise InputError(f"no setting {key!r}; there are {', '.join(known)}{nearest(str(key), known)}")
    for key in known:
        if key not in values and key != OPTIONAL:
            raise InputError(f"{key} is missing: a run needs it")
    for group, registry in GROUPS.items():
        node = values.get(group)
        if group == "loss" or (group == OPTIONAL and node is None):
            continue
        if not isinstance(node, dict) or node.get("name") not in registry:
            name = node.get("name") if isinstance(node, dict) else node
            registry.parse(str(name))  # raises for what is not even an entry with its number
            raise InputError(f"{group}.name={name}: entries are chosen by {group}={name}")
        registry.typed(registry.plain(node))  # an interpolation may have brought a value of another type
    if not isinstance(values["loss"], dict) or not all(isinstance(term, dict) for term in values["loss"].values()):
        raise InputError(f"loss must be terms and their settings, loss=[td,bc]; got {values['loss']!r}")
    for term in values["loss"].values():
        if "name" in term:
            GROUPS["loss"].typed(GROUPS["loss"].plain(term))
    if not isinstance(values["loss"].get("td", {}).get("gamma"), float | int):
        raise InputError("loss.td.gamma is missing: the discount is needed, whatever the terms")
    return config
