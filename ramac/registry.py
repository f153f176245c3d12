"""Registries of interchangeable components: an entry is declared once, by a decorator on its class.

The keyword-only arguments of the constructor are the entry's typed configuration; the docstring is its help text.
"""

import importlib
import os
import pkgutil
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import cache
from importlib.metadata import entry_points
from inspect import Parameter, getdoc, signature
from typing import Any, TypeVar, cast

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ramac.arguments import defaults, number_or_range, parameters, ranges_of
from ramac.errors import InputError, known_group, nearest

SUFFIX = re.compile(r"([a-zA-Z_][\w-]*?)(-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)")
RANGE = re.compile(rf"{SUFFIX.pattern}to(-?[\d.]+)")  # as a label writes it, which is no name of an entry
EPISODE = "-episode"  # at the end of a label, likewise
Entry = TypeVar("Entry", bound=type)
Node = str | Mapping[str, Any]  # `cvar0.1`, or {name: cvar, alpha: 0.1}; a DictConfig is a Mapping


class Registry(Mapping[str, type]):
    """Name -> class of one group (`actor`, `critic`, ...); built-ins and plug-ins are imported on first look-up."""

    def __init__(self, group: str, package: str) -> None:
        self.group, self.package = group, package
        self.entries: dict[str, type] = {}
        self.suffix: dict[str, str | None] = {}

    def register(self, name: str, *, suffix: str | None = None, number: str | None = None) -> Callable[[Entry], Entry]:
        """Declare a class as entry `name`. `suffix`: the argument set by a number after the name: `cvar0.1`.

        `number` is the name that `suffix` had in version 0.1.
        """

        def declare(entry: Entry) -> Entry:
            known = self.entries.setdefault(name, entry)
            # a plug-in file run as a script is met twice: as __main__ and under its own name
            if known is not entry and (known.__qualname__, _file(known)) != (entry.__qualname__, _file(entry)):
                raise InputError(f"{self.group}={name} is already registered by {known.__module__}")
            self.suffix[name] = suffix or number
            return entry

        return declare

    def parse(self, spec: str) -> tuple[str, dict[str, Any]]:
        """Split `"cvar0.1"` into `("cvar", {"alpha": 0.1})`. Raises InputError for an unknown entry."""
        if spec in self:
            return spec, {}
        match = SUFFIX.fullmatch(spec)
        if match and match[1] in self and (key := self.suffix[match[1]]):
            kind = self.parameters(match[1])[key].annotation
            try:
                return match[1], {key: kind(match[2])}
            except ValueError:
                raise InputError(f"{self.group}={spec}: {key} must be {kind.__name__}, got {match[2]}") from None
        hint = nearest(match[1] if match else spec, self)
        label = spec.removesuffix(EPISODE) if self.group == "risk" else spec
        horizon = "" if label == spec else f" {self.group}.horizon=episode"
        if (ends := RANGE.fullmatch(label)) and ends[1] in self and (key := self.suffix[ends[1]]):
            hint = f"; a range is {self.group}={ends[1]} {self.group}.{key}=[{ends[2]},{ends[3]}]{horizon}"
        elif horizon and (label in self or ((plain := SUFFIX.fullmatch(label)) and plain[1] in self)):
            hint = f"; write {self.group}={label}{horizon}"
        raise InputError(f"no {self.group} {spec!r}; choose from {', '.join(self)}{hint}")

    def parameters(self, name: str) -> dict[str, Parameter]:
        """Keyword-only arguments of an entry, with evaluated annotations."""
        return parameters(self[name])

    def config(self, spec: str) -> DictConfig:
        """Typed node `{name: cvar, alpha: 0.1}` of `"cvar0.1"`."""
        return self.defaults(*self.parse(spec))

    def defaults(self, name: str, given: Mapping[str, Any]) -> DictConfig:
        """Typed node of an entry's arguments, some `given`, the others at their defaults; Literal is an enumeration."""
        return deepcopy(defaults(self[name], name, tuple(given.items())))

    def plain(self, node: Node) -> dict[str, Any]:
        """Plain `{name, arguments...}` of a specification, a composed node or a mapping read from a file."""
        values = self.config(node) if isinstance(node, str) else node
        if isinstance(values, DictConfig):
            values = cast("dict[str, Any]", OmegaConf.to_container(values, resolve=True))
        return {
            k: tuple(cast("list[Any]", v)) if isinstance(v, list) else getattr(v, "value", v) for k, v in values.items()
        }

    def build(self, node: Node, *args: Any, **kwargs: Any) -> Any:
        """Construct an entry with as many of `args` as its constructor takes.

        Raises InputError with the group and name when its constructor refuses a value.
        """
        plain = self.plain(node if isinstance(node, str) else self.typed(self.plain(node)))
        name = plain.pop("name")
        if missing := [key for key, value in plain.items() if value == MISSING]:
            raise InputError(f"{self.group}={name} needs {missing[0]}: {self.group}.{missing[0]}=VALUE")
        entry = getattr(self[name], "configured", self[name])
        kinds = [parameter.kind for parameter in signature(entry).parameters.values()]
        taken = sum(kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds)
        try:
            return entry(*(args if Parameter.VAR_POSITIONAL in kinds else args[:taken]), **plain, **kwargs)
        except InputError:  # its message already names the group and entry
            raise
        except (ValueError, OverflowError) as error:
            raise InputError(f"{self.group}={name}: {error}") from error

    def refuse_unknown(self, name: str, values: Mapping[str, Any]) -> None:
        """Refuse arguments that an entry does not have. Raises InputError."""
        known = self.parameters(name)
        for key in values:
            if key not in known and key != "name":
                raise InputError(f"{self.group}={name} has no argument {key!r}{nearest(str(key), known)}")

    def typed(self, values: Any) -> DictConfig:
        """Node of a mapping that was read from a file: known arguments of the right types. Raises InputError."""
        node: Mapping[str, Any] = cast("Mapping[str, Any]", values) if isinstance(values, Mapping) else {}
        name = node.get("name")
        if not isinstance(name, str):
            raise InputError(f"{self.group} has no name of an entry; choose from {', '.join(self)}")
        name, given = (name, {}) if name in self else self.parse(name)
        self.refuse_unknown(name, node)
        for key, value in node.items():
            if "${" in str(value):
                raise InputError(f"{self.group}={name}: {key}={value!r} is an interpolation, not a value")
        try:
            found = cast("DictConfig", OmegaConf.merge(self.defaults(name, given), node, {"name": name}))
            for key, parameter in self.parameters(name).items() if getattr(self[name], "ranged", False) else ():
                if parameter.annotation is float and not OmegaConf.is_missing(found, key):
                    found[key] = number_or_range(f"{self.group}={name}: {key}", self.plain(found)[key])
            return found
        except OmegaConfBaseException as error:
            text = ": ".join(filter(None, [getattr(error, "full_key", None), str(error)]))
            raise InputError(f"{self.group}={name}: {text.splitlines()[0]}") from error

    def label(self, node: Node) -> str:
        """Short name of a configured entry: `cvar0.1`, `flow`, `flow20`.

        A risk measure always shows its number (it is its identity); elsewhere a number is shown when it is not the
        default.
        """
        load()
        plain = self.plain(node)
        name, _ = self.parse(str(plain["name"]))
        key = self.suffix[name]
        ranges = ranges_of(self[name], plain) if self.group == "risk" else {}
        ending = "".join(f"-{other}{ends}" for other, ends in ranges.items() if other != key)
        ending += EPISODE if self.group == "risk" and plain.get("horizon") == "episode" else ""
        if key is None:
            return name + ending
        if key in ranges:
            return name + ranges[key] + ending
        default = self.parameters(name)[key].default
        value = plain.get(key, default)  # a preset need not name it
        return name if self.group != "risk" and value == default else f"{name}{value:g}{ending}"

    def __getitem__(self, name: str) -> type:
        load()
        return self.entries[name]

    def __contains__(self, name: object) -> bool:
        load()
        return name in self.entries

    def __iter__(self) -> Iterator[str]:
        load()
        return iter(sorted(self.entries))

    def __len__(self) -> int:
        load()
        return len(self.entries)


actors = Registry("actor", "ramac.actors")
critics = Registry("critic", "ramac.critics")
risks = Registry("risk", "ramac.risk")
losses = Registry("loss", "ramac.losses")
hazards = Registry("hazard", "ramac.hazards")
tasks = Registry("task", "ramac.tasks")
trainers = Registry("trainer", "ramac.training.trainer")
evaluations = Registry("evaluation", "ramac.evaluation.rollout")
loggers = Registry("logger", "ramac.experiment.writers")
sources = Registry("source", "ramac.data.sources")  # chosen inside a value: data=NAME:REST
COMPOSED = (actors, critics, risks, losses, tasks, hazards, trainers, evaluations, loggers)
GROUPS = {registry.group: registry for registry in COMPOSED}  # chosen on the command line by group=entry
SLOTS = {**GROUPS, sources.group: sources}  # all that can be extended


def make(group: str, entry: str, *args: Any, **kwargs: Any) -> Any:
    """Build a registry entry: `make("risk", "cvar0.1")`, `make("actor", "flow20", Spec.unit(3, 2))`."""
    known_group(group, GROUPS)
    return GROUPS[group].build({**GROUPS[group].plain(entry), **kwargs}, *args)


def label_of(registry: Registry, entry: type) -> str:
    """Name under which a class is registered, or the class's own."""
    return next((name for name, known in registry.items() if known is entry), entry.__name__)


def summary(entry: type) -> str:
    """First line of an entry's docstring."""
    return (getdoc(entry) or "").partition("\n")[0]


def paper(entry: type) -> str:
    """Source named in an entry's docstring: the text after `Paper:`."""
    return match[1].rstrip(".") if (match := re.search(r"Paper: (.+)", getdoc(entry) or "")) else ""


def _file(entry: type) -> str | None:
    module = importlib.import_module(entry.__module__)
    return os.path.realpath(path) if (path := getattr(module, "__file__", None)) else None


def plugins() -> list[str]:
    """Modules of the installed plug-ins (entry point group `ramac`), then those of `$RAMAC_PLUGINS`."""
    named = re.split(r"[\s,]+", os.environ.get("RAMAC_PLUGINS", ""))
    return [*(point.value for point in entry_points(group="ramac")), *filter(None, named)]


@cache
def load() -> None:
    """Import the built-in entries, then the plug-ins."""
    for registry in SLOTS.values():
        package = importlib.import_module(registry.package)
        for module in pkgutil.iter_modules(getattr(package, "__path__", ())):
            importlib.import_module(f"{registry.package}.{module.name}")
    for module in plugins():
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:  # a broken plug-in of somebody else must not stop the rest
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            warnings.warn(f"plug-in {module!r} skipped: {reason}", stacklevel=2)
