"""Evaluate a finished run again: more episodes, another environment or hazard, another acting rule."""

import csv
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ramac.agent import Acting, Agent
from ramac.checkpoint import load
from ramac.errors import InputError, nearest, whole_number
from ramac.evaluation.rollout import Evaluation, film
from ramac.experiment.config import SEEDS, listed
from ramac.experiment.folder import RunFolder
from ramac.experiment.writers import EPISODE
from ramac.registry import Registry, evaluations, hazards, tasks
from ramac.system.files import write_json
from ramac.system.runtime import device_of
from ramac.system.untrusted import read_json
from ramac.tasks import Task, configured

ACTING = ("candidates", "temperature", "mode")
PLAIN = (*ACTING, "episodes", "step", "seed", "device", "video", "name")
SETTINGS = (*PLAIN, "task", "hazard", "evaluation")  # the last three also with `.argument`


@dataclass(frozen=True)
class Request:
    """What to evaluate: an agent in a task's environment."""

    agent: Agent
    task: Task
    evaluation: Evaluation
    seed: int
    step: int | None
    video: int


def changed(registry: Registry, node: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> Any:
    """A configured entry with other arguments, or another entry. Raises InputError."""
    group = registry.group
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


def agent_of(folder: RunFolder, settings: Mapping[str, Any]) -> Agent:
    """The agent of the run's last or of a kept checkpoint, with the acting rule asked for. Raises InputError."""
    step = settings.get("step")
    path = folder.checkpoint if step is None else folder.checkpoints / str(step)
    if not path.is_dir():
        kept = ", ".join(map(str, folder.kept))
        there = f"there are {kept}" if kept else "evaluation.keep=true keeps them in a run"
        raise InputError(f"{folder} has no checkpoint{'' if step is None else f' of gradient step {step}'}; {there}")
    agent = load(path, folder.path)
    if asked := {key: settings[key] for key in ACTING if key in settings}:
        mode = {"candidates": 1, "temperature": 0.0} if asked.get("mode") is True else {}
        agent.acting = Acting.of({**asdict(agent.acting), **mode, **asked})
    return agent.to(device_of(settings.get("device", "auto")))


def refuse_other_sizes(agent: Agent, task: Task, label: str) -> None:
    """Refuse an environment whose observations or actions do not fit the policy. Raises InputError."""
    env, spec = task.environment(), agent.actor.spec
    for what, space, need in (
        ("observations", env.observation_space, spec.obs_dim),
        ("actions", env.action_space, spec.act_dim),
    ):
        if space.shape != (need,):
            raise InputError(f"the policy takes {what} of {need} numbers, task={label} {space.shape}")
    env.close()


def request(folder: RunFolder, settings: Mapping[str, Any]) -> Request:
    """Everything built and checked before the first episode. Raises InputError."""
    config = folder.config
    for key in settings:
        if (group := key.partition(".")[0]) not in SETTINGS or (group != key and group in PLAIN):
            raise InputError(
                f"eval has no setting {key!r}; choose from {', '.join(SETTINGS)}{nearest(group, SETTINGS)}"
            )
    for key in {"seed", "step", "video"} & set(settings):
        whole_number(key, settings[key], 0, SEEDS)
    agent = agent_of(folder, settings)
    if "step" not in settings:
        folder.warn_unfinished()
    parts = {
        "task": changed(tasks, config.task, settings),
        "hazard": changed(hazards, config.hazard, settings),
        "data": config.data,
    }
    episodes = {"evaluation.episodes": settings["episodes"]} if "episodes" in settings else {}
    evaluation = evaluations.build(changed(evaluations, config.evaluation, {**settings, **episodes}))
    task = configured(parts)
    if not task.has_environment:
        raise InputError(f"{folder} has no environment to act in; ramac estimate {folder} judges it by the logged data")
    refuse_other_sizes(agent, task, tasks.label(parts["task"]))
    seed, video = settings.get("seed", config.seed), settings.get("video", 0)
    return Request(agent, task, evaluation, seed, settings.get("step"), video)


def evaluate(run: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Evaluate and write `RUN/evaluations/<name>/`; returns the content of its summary.json plus `run_dir`.

    `settings`: those of `ramac eval`, by dotted key. Raises InputError before anything is written.
    """
    asked = listed({key: value for key, value in settings.items() if key != "name"})
    name = str(settings.get("name") or slug(asked))
    if not re.fullmatch(r"[\w.=,+-]+", name) or name.startswith("."):
        raise InputError(f"name={name!r} must be letters, digits and any of . = , + - _")
    run_folder = RunFolder(run)
    want = request(run_folder, asked)
    folder = run_folder.evaluations / name
    if folder.exists() and previous(folder) != asked:
        raise InputError(f"{folder} holds an evaluation with other settings; choose another name")
    part = folder.with_name(f".{name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{part.parent} cannot be written: {error.strerror}") from error
    try:
        if want.video:
            film(want.agent, want.task, want.evaluation.starts(want.seed)[:-1][: want.video], part)
        rows = want.evaluation.run(want.agent, want.task, want.seed)
        with (part / "episodes.csv").open("w", newline="") as file:
            writer: csv.DictWriter[str] = csv.DictWriter(file, EPISODE)
            writer.writeheader()
            writer.writerows(rows)
        checkpoint = source(run_folder, want)
        summary = {"settings": asked, "seed": want.seed, "checkpoint": checkpoint, **want.evaluation.summary(rows)}
        if (score := want.task.score(summary["return_mean"])) is not None:
            summary["score"] = score
        write_json(part / "summary.json", summary)
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return {**summary, "run_dir": str(folder)}


def source(run: RunFolder, want: Request) -> dict[str, Any]:
    """Gradient step of the checkpoint, None for the last of a finished run, and why it was chosen."""
    if want.step is not None:
        return {"step": want.step, "rule": "asked for"}
    return {"step": None, "rule": "last"} if run.summary_file.exists() else {"step": run.step, "rule": "unfinished run"}


def previous(folder: Path) -> Any:
    """The settings of the evaluation in a folder; None where it cannot be read."""
    try:
        return read_json(folder / "summary.json", folder).get("settings")
    except InputError:
        return None


def slug(settings: Mapping[str, Any]) -> str:
    """Folder name of an evaluation: its settings, or `again`."""
    words = sorted(f"{key}={value}" for key, value in settings.items() if key != "device")
    return re.sub(r"[^\w.=,+-]+", "_", ",".join(words)) or "again"
