"""The policy of a run as one file that acts without this library."""

import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ramac.agent import Agent
from ramac.checkpoint import load, step_of
from ramac.deploy.formats import FORMATS, silenced
from ramac.deploy.parity import difference, latency
from ramac.deploy.program import Policy, traced
from ramac.errors import InputError, nearest
from ramac.experiment.config import RunConfig
from ramac.experiment.evaluate import agent_of
from ramac.experiment.folder import RunFolder
from ramac.registry import actors, critics, label_of, losses, risks
from ramac.risk.context import EPISODE
from ramac.risk.episode import Episode
from ramac.solvers import ADAPTIVE, TABLEAUX
from ramac.system.files import alone, refuse_taken, whole
from ramac.system.runtime import versions

SETTINGS = ("candidates", "temperature", "deterministic", "opset", "step")
PACKAGES = ("ramac", "torch", "onnx", "onnxscript")
UNITS = {"reward_so_far": "reward units, sum of gamma^i r_i of the steps before t", "discount": "gamma^t in step t"}


def export(run: str | Path, target: str | Path, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Write the policy of a run folder or a checkpoint to `target`, FILE.onnx or FILE.pt2; returns what was measured.

    `settings`: those of `ramac export`. Raises InputError before anything is written.
    """
    settings, target = dict(settings or {}), Path(target)
    for key in settings:
        if key not in SETTINGS:
            raise InputError(
                f"export has no setting {key!r}; choose from {', '.join(SETTINGS)}{nearest(key, SETTINGS)}"
            )
    if target.suffix not in FORMATS:
        close = nearest(target.suffix, FORMATS)
        raise InputError(f"{target}: a policy is written to FILE{' or FILE'.join(FORMATS)}{close}")
    refuse_taken(target, "file")
    form = FORMATS[target.suffix](settings.get("opset"))
    deterministic = settings.pop("deterministic", False)
    for key, only in (("candidates", 1), ("temperature", 0)) if deterministic is True else ():
        if settings.get(key, only) != only:
            raise InputError(f"deterministic=true is a single action, {key}={settings[key]} is for samples")
    agent, config, step = agent_in(Path(run), {key: value for key, value in settings.items() if key != "opset"})
    policy = policy_of(agent, deterministic)
    with silenced():
        program = traced(policy)
    content = form.encode(program, describe(policy, config, step))
    act = form.runner(content)
    parity = difference(policy, act)
    times = {batch: latency(policy, act, batch) for batch in (1, 256)}
    try:
        with alone(target), whole(target) as part:
            part.write_bytes(content)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror or error}") from error
    found = {"file": str(target), "bytes": len(content), "noise": policy.columns, "context": agent.context.names}
    return {**found, "parity": parity, "latency_ms": times}


def agent_in(path: Path, settings: Mapping[str, Any]) -> tuple[Agent, RunConfig | None, int | None]:
    """The agent of a run folder or a checkpoint on the processor, its run's configuration, and its gradient step.

    Raises InputError for a folder that is neither, and for a run that trained no actor.
    """
    if not os.path.isdir(path):  # also where the name is too long
        raise InputError(f"no folder {path}; name a run folder or a checkpoint")
    single = (path / "agent.json").is_file()
    run = RunFolder(folder_of_run(path.resolve()) if single else path)
    config = run.config if os.path.lexists(run.config_file) else None
    if config is not None and not any(losses[node["name"]].group == "actor" for node in config.loss.values()):
        raise InputError(f"{path} has no trained actor: loss=[{','.join(config.loss)}] trains the critic alone")
    if not single:
        place = run.checkpoints / str(settings["step"]) if "step" in settings else run.checkpoint
        agent = agent_of(run, {**settings, "device": "cpu"})
    elif "step" in settings:
        raise InputError(f"step={settings['step']}: {path} is one checkpoint already")
    else:
        place, agent = path, load(path)
        agent.acting = type(agent.acting).of({**asdict(agent.acting), **settings})
    return agent.to(torch.device("cpu")), config, step_of(place)


def folder_of_run(checkpoint: Path) -> Path:
    """The run folder of `RUN/checkpoint` or `RUN/checkpoints/STEP`; any other checkpoint stands alone."""
    if checkpoint.name == "checkpoint":
        return checkpoint.parent
    return checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint


def policy_of(agent: Agent, deterministic: Any) -> Policy:
    """The policy to be traced. Raises InputError for a central action that is none."""
    if type(deterministic) is not bool:
        raise InputError(f"deterministic must be true or false, got {deterministic!r}")
    parts = {"actor": agent.actor} | ({"critic": agent.critic} if agent.acting.candidates > 1 else {})
    for name, part in parts.items():
        if (solver := getattr(part, "solver", None)) in ADAPTIVE:
            text = f"{name}.solver={solver} chooses its steps by the data, which no file can hold"
            raise InputError(f"{text}; train with solver={' or '.join(TABLEAUX)}")
    policy = Policy(agent, deterministic)
    if policy.mode and policy.columns:
        text = f"{policy.name} has no central action, so deterministic=true would still draw"
        raise InputError(f"{text}; leave it out and give zeros as noise")
    return policy


def describe(policy: Policy, config: RunConfig | None, step: int | None = None) -> dict[str, Any]:
    """What a user of the file must know: inputs, output, units, origin."""
    agent, scaling = policy.agent, policy.agent.actor.scaling
    noise = {"noise": {"shape": ["batch", policy.columns], "type": "float32", "law": "independent standard normal"}}
    sizes = {"observation": agent.obs_dim, "action": scaling.half_width.numel()}
    parts = {"actor": (actors, agent.actor), "critic": (critics, agent.critic), "risk": (risks, agent.risk.whole)}
    single = {"mode": True, "candidates": 1, "temperature": 0.0} if policy.mode else {}
    entries = {group: label_of(registry, type(part)) for group, (registry, part) in parts.items()}
    return {
        "inputs": {
            "observation": {
                "shape": ["batch", sizes["observation"]],
                "type": "float32",
                "unit": "as logged, not scaled",
            },
            **(noise if policy.columns else {}),
            **context_of(agent),
        },
        "outputs": {
            "action": {
                "shape": ["batch", sizes["action"]],
                "type": "float32",
                "unit": "as logged, inside the box",
                "low": scaling.low.tolist(),
                "high": scaling.high.tolist(),
            }
        },
        **(entries if config is None else config.names),
        "acting": {**asdict(agent.acting), **single},
        "gradient_steps": step,
        "versions": versions(PACKAGES),
    }


def context_of(agent: Agent) -> dict[str, Any]:
    """The inputs that the risk measure reads, by name: unit, range, and value at the start of an episode."""
    found: dict[str, Any] = {}
    for name in agent.context.names:
        low, high = agent.context.ends(name)
        found[name] = {"shape": ["batch", 1], "type": "float32", "unit": UNITS.get(name, "as the setting of a run")}
        found[name] |= {"low": low, "high": high} if math.isfinite(high) else {}
        found[name] |= {"start": EPISODE[name]} if name in EPISODE else {}
    if isinstance(agent.risk, Episode):
        found["discount"]["gamma"] = float(f"{agent.risk.gamma.item():.7g}")  # digits of float32
    return found
