"""The configuration of a run: one frozen dataclass, checked once."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from ramac.agent import Acting
from ramac.data.roles import checked
from ramac.errors import InputError, nearest, whole_number
from ramac.experiment import fits, objective
from ramac.registry import GROUPS, Registry, tasks

Node = dict[str, Any]  # `name` of a registry entry and its arguments
SEEDS = 2**32 - 1  # NumPy's largest seed
LIMITS = {"seed": (0, SEEDS), "log_every": (1, SEEDS), "save_every": (0, SEEDS), "save_last": (1, 1000)}
OPTIONAL_LIMITS = {"threads": (1, 4096), "seeds": (1, 1024)}
DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
# settings that the numbers of a run do not depend on; `estimate` is none: without an environment it is the result
NEUTRAL = (
    *("run_dir", "grid_dir", "sweep", "objective", "device", "threads", "seeds"),
    *("save_every", "save_last", "logger"),
)
CSV: dict[str, Node] = {"csv": {"name": "csv"}}


class SettingError(InputError):
    """A setting that no run accepts, whatever its entries."""


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return found


def listed(value: Any) -> Any:
    """Plain data with lists for tuples, as YAML and JSON hold it."""
    if isinstance(value, Mapping):
        return {key: listed(inner) for key, inner in value.items()}
    return [listed(inner) for inner in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything a run depends on. Entries are plain `{name, arguments...}`. Raises InputError."""

    actor: Node
    critic: Node
    risk: Node
    loss: dict[str, Node]
    task: Node
    hazard: Node | None
    trainer: Node
    evaluation: Node
    estimate: Node
    logger: dict[str, Node]
    data: str | None
    columns: dict[str, Any] | None
    recipe: str | None
    sweep: str | None
    candidates: int
    temperature: float
    mode: bool
    gamma: float
    seed: int
    device: str
    run_dir: str | None
    seeds: int | None
    grid_dir: str | None
    threads: int | None
    log_every: int
    save_every: int
    save_last: int
    deterministic: bool
    objective: str | None

    def __post_init__(self) -> None:
        for key, (least, most) in (LIMITS | OPTIONAL_LIMITS).items():
            if (value := getattr(self, key)) is not None or key in LIMITS:
                whole_number(key, value, least, most, SettingError)
        fits.check(self.estimate, SettingError)
        for key in ("data", "recipe", "sweep", "grid_dir", "run_dir", "objective"):
            if isinstance(value := getattr(self, key), Mapping | list | tuple):
                raise SettingError(f"{key} must be text, got {value!r}")
        if type(self.deterministic) is not bool:
            raise SettingError(f"deterministic must be true or false, got {self.deterministic!r}")
        if self.seeds is not None and self.seed + self.seeds - 1 > SEEDS:
            raise SettingError(f"seed={self.seed} seeds={self.seeds}: the last seed would be above {SEEDS}")
        if not DEVICE.fullmatch(str(self.device)):
            raise SettingError(f"device={self.device} cannot be used here; choose auto, cpu, cuda or cuda:NUMBER")
        if type(self.gamma) not in (int, float) or not 0 <= self.gamma <= 1:
            raise SettingError(f"gamma must be in [0, 1], got {self.gamma!r}")
        if isinstance(self.data, list | dict):
            raise SettingError(f"data must be one place, several are joined by +; got {self.data!r}")
        _ = checked(self.columns)
        if self.run_dir is not None and (isinstance(self.run_dir, bool) or not str(self.run_dir).strip()):
            raise SettingError(f"run_dir must be the name of a new folder, got {self.run_dir!r}")
        try:
            for part in (
                {"candidates": self.candidates},
                {"candidates": 1, "mode": self.mode},
                {"temperature": self.temperature},
            ):
                Acting.of({"candidates": 2} | part)
            _ = self.path_of_objective
        except InputError as error:
            raise SettingError(str(error)) from error
        _ = self.acting  # checks them together

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """The configuration in these plain settings: a composed tree, or what a run of any version has written."""
        values = {key: value for key, value in settings.items() if key != "about"}
        # an empty slot is no key of a composed tree; version 0.1 had none of the last three
        absent: Node = {"hazard": None, "logger": {}, "loss": {}, "objective": None, "columns": None, "estimate": {}}
        values = absent | values
        known = [field.name for field in fields(cls)]
        if unknown := [str(key) for key in values if key not in known]:
            raise InputError(f"no setting {unknown[0]!r}; there are {', '.join(known)}{nearest(unknown[0], known)}")
        terms, task = values.get("loss"), values.get("task")
        if isinstance(terms, Mapping) and isinstance(terms.get("td"), Mapping):
            values["gamma"] = discount(values, terms["td"].get("gamma"), task)
            if "name" not in terms["td"]:  # version 0.1 kept the discount there, also without the term
                values["loss"] = {key: term for key, term in terms.items() if key != "td"}
        values = settings_of_01(values)
        for key in known:
            if key not in values:
                raise InputError(f"{key} is missing: a run needs it")
        for group, registry in GROUPS.items():
            if group in ("loss", "logger"):
                values[group] = nodes_of(registry, values[group])
            elif group != "hazard" or values[group] is not None:
                values[group] = node_of(registry, values[group])
        values["logger"] = CSV | values["logger"]
        values["estimate"] = fits.settings_of(values["estimate"])
        if "td" in values["loss"]:
            values["loss"]["td"]["gamma"] = values["gamma"]
        return cls(**values)

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The settings as plain data, lists for tuples."""
        return listed(asdict(self))

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The settings that the numbers of a run depend on: those of the estimate where it is the run's result."""
        unused = (*NEUTRAL, "estimate") if tasks[self.task["name"]].has_environment else NEUTRAL
        return {key: value for key, value in self.plain.items() if key not in unused}

    def difference(self, other: "RunConfig") -> str | None:
        """The first setting that the numbers depend on and in which `other` differs, in words; None where none does."""
        ours, theirs = flat(self.identity), flat(other.identity)
        for key in {**ours, **theirs}:
            if (key in ours, ours.get(key)) != (key in theirs, theirs.get(key)):
                return f"{key}={theirs.get(key, 'none')}, not {ours.get(key, 'none')}"
        return None

    @cached_property
    def acting(self) -> Acting:
        """How the policy acts."""
        return Acting.of({"candidates": self.candidates, "temperature": self.temperature, "mode": self.mode})

    @cached_property
    def path_of_objective(self) -> str:
        """Where a summary has the number that a search compares: `return_cvar.0.1`."""
        return objective.chosen(self.objective, self.task, self.evaluation, self.estimate["steps"] != 0)

    @cached_property
    def names(self) -> dict[str, str]:
        """Short names of task, recipe, actor, critic and risk measure."""
        labels = {group: GROUPS[group].label(getattr(self, group)) for group in ("task", "actor", "critic", "risk")}
        recipe = {"recipe": str(self.recipe)} if self.recipe else {}
        return {"task": labels.pop("task"), **recipe, **labels}

    @cached_property
    def name(self) -> str:
        """Short name of the run: `bandit-flow-iqn-cvar0.1-seed0`."""
        return "-".join([*self.names.values(), f"seed{self.seed}"])

    @property
    def singles(self) -> list[Self]:
        """One configuration per seed; below a given `run_dir` each has a folder of its own."""
        if self.seeds is None:
            return [self]
        return [
            replace(self, seed=seed, seeds=None, run_dir=self.run_dir and str(Path(str(self.run_dir), f"seed{seed}")))
            for seed in range(self.seed, self.seed + self.seeds)
        ]


def discount(settings: Mapping[str, Any], alias: Any, task: Any) -> Any:
    """`gamma`, which `loss.td.gamma` also sets. Raises InputError where both are set and differ."""
    gamma = settings.get("gamma", alias)
    own = task.get("gamma") if isinstance(task, Mapping) else None
    if alias in (None, gamma):
        return gamma
    if gamma != own:
        raise InputError(f"gamma={gamma} and loss.td.gamma={alias} are the same setting; set one of them")
    return alias


def settings_of_01(values: dict[str, Any]) -> dict[str, Any]:
    """Settings of version 0.1 in the present words, with the values that it had for settings that are new."""
    terms, actor = values.get("loss"), values.get("actor")
    if isinstance(terms, Mapping):
        values["loss"] = {key: term_of_01(node) if isinstance(node, Mapping) else node for key, node in terms.items()}
    if isinstance(actor, Mapping) and actor.get("name") in ("gaussian", "mixture") and "beta" not in actor:
        values["actor"] = {**actor, "beta": 0.0}
    if isinstance(trainer := values.get("trainer"), Mapping) and trainer.get("compile") == "on":
        values["trainer"] = {**trainer, "compile": "auto"}
    return values


def term_of_01(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """A loss term of version 0.1: `normalise` was true or false, `awr` had an inverse temperature only."""
    if type(node.get("normalise")) is bool:
        node = {**node, "normalise": "abs" if node["normalise"] else "none"}
    if node.get("name") == "awr" and "inverse_temperature" in node and "effective_sample_size" not in node:
        node = {**node, "effective_sample_size": None}
    return node


def node_of(registry: Registry, node: Any) -> Node:
    """Checked name and arguments of one entry. Raises InputError."""
    group = registry.group
    if not isinstance(node, Mapping):
        raise InputError(f"{group} must be the name and the arguments of an entry, got {node!r}")
    if isinstance(name := node.get("name"), str) and name not in registry:
        registry.parse(name)  # refuses an unknown entry, with a number or without
        raise InputError(f"{group}.name={name}: entries are chosen by {group}={name}")
    return registry.plain(registry.typed(node))  # an interpolation may have brought a value of another type


def nodes_of(registry: Registry, nodes: Any) -> dict[str, Node]:
    """Checked entries of a slot that takes several. Raises InputError."""
    group, example = registry.group, {"loss": "terms and their settings, loss=[td,bc]"}
    if not isinstance(nodes, Mapping) or not all(isinstance(node, Mapping) for node in nodes.values()):
        raise InputError(f"{group} must be {example.get(group, f'a list of entries, {group}=[csv]')}; got {nodes!r}")
    chosen = [str(key) for key, node in nodes.items() if "name" in node]
    for key in map(str, nodes):
        if key not in chosen:
            raise InputError(f"no setting '{group}.{key}'; {group} has {', '.join(chosen)}{nearest(key, chosen)}")
    return {str(key): registry.plain(registry.typed(node)) for key, node in nodes.items()}
