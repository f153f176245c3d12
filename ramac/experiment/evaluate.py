"""Evaluate a finished run again: more episodes, another environment or hazard, another acting rule."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ramac.agent import Acting, Agent
from ramac.checkpoint import load
from ramac.errors import InputError, nearest, whole_number
from ramac.evaluation.rollout import Evaluation, film
from ramac.experiment.config import SEEDS, RunConfig, listed
from ramac.experiment.folder import RunFolder
from ramac.experiment.writers.tables import EPISODE, Table
from ramac.registry import Registry, evaluations, hazards, risks, tasks
from ramac.system.files import alone, digest, write_json
from ramac.system.paths import refuse_unsafe
from ramac.system.runtime import device_of
from ramac.system.untrusted import read_json
from ramac.tasks import Task, configured

ACTING = ("candidates", "temperature", "mode")
LONGEST = 100  # characters of a folder's name: a path of Windows has 260
PLAIN = (*ACTING, "episodes", "step", "seed", "device", "video", "name")
SETTINGS = (*PLAIN, "task", "hazard", "evaluation", "risk")  # the last four also with `.argument`, risk only so


def changed(registry: Registry, node: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> Any:
    """A configured entry with other arguments, or another entry. Raises InputError."""
    group = registry.group
    given = {key.partition(".")[2]: value for key, value in settings.items() if key.startswith(f"{group}.")}
    if group in settings:
        label = "" if settings[group] is None else str(settings[group])
    elif node is not None:
        label = node["name"]
    elif given:
        raise InputError(f"{group}= must be named too: choose from {', '.join(registry)}")
    else:
        return None
    name, numbers = registry.parse(label)
    kept = {k: v for k, v in node.items() if k not in numbers} if node is not None and node["name"] == name else {}
    known = registry.parameters(name)
    for key in given:
        if key not in known:
            have = ", ".join(known) or "no settings"
            raise InputError(f"no setting '{group}.{key}'; {group}={name} has {have}{nearest(key, known)}")
    try:
        return OmegaConf.merge(registry.config(label), kept, given)
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


def turn(agent: Agent, run: object, node: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Set the dials of a run's agent, `risk.NAME`; `node` is its measure as configured. Raises InputError."""
    dials, risk = agent.context.dials, risks.label(node)
    for key, value in settings.items():
        group, _, name = key.partition(".")
        if group != "risk":
            continue
        if not name:
            raise InputError(f"risk={value}: the measure is that of the training, {risk}; risk.NAME=VALUE sets a dial")
        if not dials:
            number = (known := risks.parameters(node["name"]).get(name)) and known.annotation is float
            range_of = f"; train with risk.{name}=[LOW,HIGH]" if number else ""
            raise InputError(f"risk={risk} of {run} has no range, so {key} has no effect{range_of}")
        if name not in dials:
            have = ", ".join(f"risk.{dial}" for dial in dials)
            raise InputError(f"{key} is no dial of {run}, whose risk={risk} has {have}{nearest(name, dials)}")
        agent.context.turn(name, value)


def refuse_other_sizes(agent: Agent, task: Task, label: str) -> None:
    """Refuse an environment whose observations or actions do not fit the policy. Raises InputError."""
    env, spec = task.environment(), agent.actor.data_spec
    spaces = {"observations": (env.observation_space, agent.obs_dim), "actions": (env.action_space, spec.act_dim)}
    for what, (space, need) in spaces.items():
        if space.shape != (need,):
            raise InputError(f"the policy takes {what} of {need} numbers, task={label} {space.shape}")
    env.close()


def request(folder: RunFolder, config: RunConfig, settings: Mapping[str, Any]) -> tuple[Agent, Task, Evaluation]:
    """The agent, its environment and how it is judged, checked before the first episode. Raises InputError."""
    for key in settings:
        if (group := key.partition(".")[0]) not in SETTINGS or (group != key and group in PLAIN):
            raise InputError(
                f"eval has no setting {key!r}; choose from {', '.join(SETTINGS)}{nearest(group, SETTINGS)}"
            )
    if "evaluation.average" in settings:
        raise InputError(
            "eval evaluates one checkpoint; evaluation.average is a setting of a run, with evaluation.every"
        )
    for key in {"seed", "step", "video"} & set(settings):
        whole_number(key, settings[key], 0, SEEDS)
    agent = agent_of(folder, settings)
    turn(agent, folder, config.risk, settings)
    if "step" not in settings:
        folder.warn_unfinished()
    node, hazard = changed(tasks, config.task, settings), changed(hazards, config.hazard, settings)
    episodes = {"evaluation.episodes": settings["episodes"]} if "episodes" in settings else {}
    evaluation = evaluations.build(changed(evaluations, config.evaluation, {**settings, **episodes}))
    task = configured({"task": node, "hazard": hazard, "data": config.data, "columns": config.columns})
    if not task.has_environment:
        raise InputError(f"{folder} has no environment to act in; ramac estimate {folder} judges it by the logged data")
    refuse_other_sizes(agent, task, tasks.label(node))
    return agent, task, evaluation


def evaluate(run: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Evaluate and write `RUN/evaluations/<name>/`; returns the content of its summary.json plus `run_dir`.

    `settings`: those of `ramac eval`, by dotted key. Raises InputError before anything is written.
    """
    asked = listed({key: value for key, value in settings.items() if key != "name"})
    name = str(settings.get("name") or slug(asked))
    if not re.fullmatch(r"[\w.=,+-]+", name) or name.startswith("."):
        raise InputError(f"name={name!r} must be letters, digits and any of . = , + - _")
    run_folder = RunFolder(run)
    refuse_unsafe(run)  # the evaluation would be written through them
    config = run_folder.config
    agent, task, evaluation = request(run_folder, config, asked)
    seed = asked.get("seed", config.seed)
    folder = run_folder.evaluations / name
    if folder.exists() and previous(folder) != asked:
        raise InputError(f"{folder} holds an evaluation with other settings; choose another name")
    try:
        folder.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder.parent} cannot be written: {error.strerror}") from error
    with alone(folder):
        summary = judge(agent, task, evaluation, asked, seed, folder, source(run_folder, asked.get("step")))
    return {**summary, "run_dir": str(folder)}


def judge(
    agent: Agent, task: Task, evaluation: Evaluation, asked: Mapping[str, Any], seed: int, folder: Path,
    checkpoint: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Evaluate and write the folder, which appears complete or not at all; returns its summary."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # left by a killed process
    try:
        part.mkdir()
        if videos := asked.get("video"):
            film(agent, task, evaluation.starts(seed)[:videos], part)
        rows = evaluation.run(agent, task, seed)
        table = Table(part / "episodes.csv", EPISODE, None)
        table.write(rows)
        table.close()
        summary = {"settings": asked, **agent.context.played, "seed": seed, "checkpoint": checkpoint}
        summary |= evaluation.summary(rows)
        if (score := task.score(summary["return_mean"])) is not None:
            summary["score"] = score
        write_json(part / "summary.json", summary)
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return summary


def source(run: RunFolder, step: int | None) -> dict[str, Any]:
    """Gradient step of the checkpoint, None for the last of a finished run, and why it was chosen."""
    if step is not None:
        return {"step": step, "rule": "asked for"}
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
    name = re.sub(r"[^\w.=,+-]+", "_", ",".join(words)) or "again"
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}-{digest(words)}"
