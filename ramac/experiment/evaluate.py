"""`ramac eval RUN`: judge a finished run again: more episodes, another environment or hazard, another acting rule."""

import csv
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ramac.agent import Acting, Agent
from ramac.checkpoint import load
from ramac.errors import InputError, nearest
from ramac.evaluation.rollout import Evaluation
from ramac.evaluation.video import record
from ramac.experiment.config import value_of
from ramac.experiment.folder import EPISODE, settings_of
from ramac.experiment.run import whole_number
from ramac.experiment.unfinished import evaluated, unfinished, warn
from ramac.registry import Registry, evaluations, hazards, tasks
from ramac.system.runtime import device_of
from ramac.tasks import Task, configured

USAGE = """ramac eval RUN [key=value ...]: judge a finished run again; the run itself stays as it is

  episodes=500              how many (also evaluation.seed=1 evaluation.environments=10 evaluation.alphas=[0.05,0.1])
  task.hazard=none          the standard environment without hazards; or another version, task.horizon=1000
  hazard=velocity hazard.high=5                another hazard than the task's
  task=hopper-mixed         another task with the same sizes
  candidates=16 temperature=0.5 mode=true      another acting rule
  step=2000                 a checkpoint kept by evaluation.keep=true, not the last
  seed=1                    other starts and hazard draws than those of the run's own evaluation
  video=3                   films of that many episodes (needs ffmpeg's Python package: pip install 'ramac[video]')
  name=LABEL                folder RUN/evaluations/LABEL; by default it tells the settings"""
ACTING = ("candidates", "temperature", "mode")
PLAIN = (*ACTING, "episodes", "step", "seed", "device", "video", "name")


@dataclass(frozen=True)
class Request:
    """What to evaluate: an agent in a task's environment."""

    agent: Agent
    task: Task
    evaluation: Evaluation
    seed: int
    step: int | None
    video: int


def split(arguments: list[str]) -> tuple[Path, dict[str, Any]]:
    """The run folder and the settings by key, values read as YAML. Raises InputError."""
    words = [word for word in arguments if "=" not in word]
    if len(words) != 1:
        raise InputError(f"eval needs one run folder, got {len(words)}: ramac eval RUN episodes=500")
    settings: dict[str, Any] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            continue
        group = key.partition(".")[0]
        if key not in PLAIN and group not in ("task", "hazard", "evaluation"):
            known = (*PLAIN, "task", "hazard", "evaluation")
            raise InputError(f"eval has no setting {key!r}; choose from {', '.join(known)}{nearest(group, known)}")
        if key == "name":
            settings[key] = value
            continue
        settings[key] = value_of(key, value)
    return Path(words[0]), settings


def changed(registry: Registry, node: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> Any:
    """A configured entry with other arguments, or another entry. Raises InputError."""
    group = registry.group
    if node is not None and not (isinstance(node, Mapping) and isinstance(node.get("name"), str)):
        raise InputError(f"config.yaml: {group} must be the name and the arguments of an entry, got {node!r}")
    if group in settings:
        name = str(settings[group])
        if node is None or registry.parse(name)[0] != node["name"]:
            node = None
        base = registry.config(name)
        kept = {} if node is None else {k: v for k, v in node.items() if k not in registry.parse(name)[1]}
    elif node is not None:
        base, kept = registry.config(node["name"]), dict(node)
    else:
        if any(key.startswith(f"{group}.") for key in settings):
            raise InputError(f"{group}= must be named too: choose from {', '.join(registry)}")
        return None
    given = {key.partition(".")[2]: value for key, value in settings.items() if key.startswith(f"{group}.")}
    known = registry.parameters(base["name"])
    for key in given:
        if key not in known:
            have = ", ".join(known) or "no settings"
            raise InputError(f"no setting '{group}.{key}'; {group}={base['name']} has {have}{nearest(key, known)}")
    try:
        return OmegaConf.merge(base, {k: v for k, v in kept.items() if k in ("name", *known)}, given)
    except OmegaConfBaseException as error:
        raise InputError(f"{group}: {' '.join(str(error).splitlines()[0].split())}") from error


def request(run: Path, settings: dict[str, Any]) -> Request:
    """Everything built and checked before the first episode. Raises InputError."""
    config = settings_of(run)
    if "episodes" in settings:
        settings["evaluation.episodes"] = settings.pop("episodes")
    for key in ("seed", "step", "video"):
        if key in settings:
            whole_number(settings, key, 0)
    step = settings.get("step")
    folder = run / "checkpoints" / str(step) if step is not None else run / "checkpoint"
    if not folder.is_dir():
        kept = sorted(int(p.name) for p in (run / "checkpoints").glob("*") if p.name.isdigit())
        there = f"there are {', '.join(map(str, kept))}" if kept else "evaluation.keep=true keeps them in a run"
        what = f"no checkpoint of update {step}" if step is not None else "no checkpoint"
        raise InputError(f"{run} has {what}; {there}")
    agent = load(folder, run)
    if step is None:
        warn(run)
    asked = {key: settings[key] for key in ACTING if key in settings}
    if asked:
        now = {key: getattr(agent.acting, key) for key in ACTING}
        if asked.get("mode") is True:
            now |= {"candidates": 1, "temperature": 0.0}
        agent.acting = Acting.of(now | asked)
    parts = {
        "task": changed(tasks, config["task"], settings),
        "hazard": changed(hazards, config.get("hazard"), settings),
        "data": config.get("data"),
    }
    evaluation = evaluations.build(changed(evaluations, config["evaluation"], settings))
    task = configured(parts)
    if not task.has_environment:
        raise InputError(f"{run} has no environment to act in; ramac estimate {run} judges it by the logged data")
    space = task.environment()
    sizes = {"observations": (space.observation_space.shape, agent.actor.spec.obs_dim)}
    sizes["actions"] = space.action_space.shape, agent.actor.spec.act_dim
    for what, (have, need) in sizes.items():
        if have != (need,):
            raise InputError(f"the policy takes {what} of {need} numbers, task={tasks.label(parts['task'])} {have}")
    space.close()
    agent.to(device_of(settings.get("device", "auto")))
    seed = whole_number({"seed": settings.get("seed", config["seed"])}, "seed", 0)
    return Request(agent, task, evaluation, seed, step, settings.get("video", 0))


def evaluate(run: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Evaluate and write `RUN/evaluations/<name>/`; returns the content of its summary.json plus `run_dir`.

    Raises InputError before anything is written.
    """
    name = str(settings.pop("name", "") or slug(settings))
    if not re.fullmatch(r"[\w.=,+-]+", name) or name.startswith("."):
        raise InputError(f"name={name!r} must be letters, digits and any of . = , + - _")
    asked = dict(settings)
    want = request(run, settings)
    folder = run / "evaluations" / name
    if folder.exists() and mapping_of(folder / "summary.json").get("settings") != asked:
        raise InputError(f"{folder} holds an evaluation with other settings; choose another name")
    part = folder.with_name(f".{name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{part.parent} cannot be written: {error.strerror}") from error
    try:
        if want.video:
            record(want.agent, want.task, want.evaluation.starts(want.seed)[:-1][: want.video], part)
        rows = want.evaluation.run(want.agent, want.task, want.seed)
        with (part / "episodes.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, EPISODE)
            writer.writeheader()
            writer.writerows(rows)
        rule = {"step": want.step, "rule": "last" if want.step is None else "asked for"}
        if want.step is None and unfinished(run):
            rule = {"step": evaluated(run), "rule": "unfinished run"}
        summary = {"settings": asked, "seed": want.seed, "checkpoint": rule, **want.evaluation.summary(rows)}
        if (score := want.task.score(float(np.mean([row["return"] for row in rows])))) is not None:
            summary["score"] = score
        (part / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return {**summary, "run_dir": str(folder)}


def mapping_of(path: Path) -> dict[str, Any]:
    """The content of a JSON file; nothing where it cannot be read."""
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def slug(settings: Mapping[str, Any]) -> str:
    """Folder name of an evaluation: its settings, or `again`."""
    words = sorted(f"{key}={value}" for key, value in settings.items() if key != "device")
    return re.sub(r"[^\w.=,+-]+", "_", ",".join(words)) or "again"


def command(arguments: list[str]) -> int:
    """Run `ramac eval ARGUMENTS`; returns the exit status. Raises InputError."""
    from ramac.cli.terminal import show_evaluation

    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0
    run, settings = split(arguments)
    show_evaluation(run, evaluate(run, settings))
    return 0
