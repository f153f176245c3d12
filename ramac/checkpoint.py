"""Agents on disk: weights and a description, as plain data that is safe to read."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from ramac.agent import Acting, Agent
from ramac.errors import InputError, nearest
from ramac.registry import actors, critics, risks
from ramac.spec import Spec
from ramac.system.files import checksum_of_json, write_json, write_tensors
from ramac.system.runtime import versions
from ramac.system.untrusted import LONG_JSON_BYTES, read_json, refuse_instructions
from ramac.system.weights import Allowance, Weights

PARTS = {"actor": actors, "critic": critics, "risk": risks}
PACKAGES = ("ramac", "torch", "tensordict", "diffusers", "torchdyn")  # an agent's actions depend on those it uses


def save(agent: Agent, parts: Mapping[str, Any], folder: Path, step: int | None = None) -> None:
    """Write `agent.safetensors` (weights) and `agent.json` (entries, arguments, spec): data only, nothing that runs.

    Each file has a checksum and is written atomically. `step` is the gradient step whose policy it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    description: dict[str, Any] = {group: registry.plain(parts[group]) for group, registry in PARTS.items()}
    description |= {**asdict(agent.acting), "spec": asdict(agent.spec_of_data), "versions": versions(PACKAGES)}
    if step is not None:
        description["step"] = step
    write_tensors(folder / "agent.safetensors", agent.state_dict())
    write_json(folder / "agent.json", {**description, "sha256": checksum_of_json(description)})


def load(path: str | Path, root: str | Path | None = None) -> Agent:
    """Agent of a run folder or its checkpoint folder: `load(PATH).act(observation)`, safe for files of others.

    Every part is checked before it is used, and sizes before memory is allocated; links out of `root` (default: PATH)
    are refused. Raises InputError.
    """
    folder, root = Path(path), Path(path if root is None else root)
    folder = folder / "checkpoint" if (folder / "checkpoint").is_dir() else folder
    try:
        description = read_json(folder / "agent.json", root, LONG_JSON_BYTES)
        weights = Weights(folder / "agent.safetensors", root)
        refuse_instructions(folder / "agent.json", description)
        warn_of_newer(description.get("versions"))
        known = {*PARTS, *(field.name for field in fields(Acting)), "spec", "versions", "step", "sha256"}
        for key in sorted({*PARTS, "spec", *description}):
            if key not in known:
                raise InputError(f"agent.json has an unknown {key!r}{nearest(key, known)}")
            if key in (*PARTS, "spec") and not isinstance(description.get(key), dict):
                raise InputError(f"agent.json has no {key}")
        with Allowance(max(weights.numbers, 2**20), f"agent.safetensors has {weights.numbers} in all"):
            agent = Agent.build(description, Spec.of(description["spec"]))
        agent.load_state_dict(weights.load(agent.state_dict()))
        if release(str((description.get("versions") or {}).get("ramac"))) == (0, 1):  # it counted in reward units
            standard = agent.acting.temperature / agent.actor.data_spec.return_std
            agent.acting = replace(agent.acting, temperature=standard)
        if description.get("sha256") not in (None, checksum_of_json(description)):
            raise InputError("agent.json is damaged: its checksum does not match")
    except InputError as error:
        raise InputError(f"no usable checkpoint in {folder}: {error}") from error
    except Exception as error:  # values of others can make any entry raise anything
        raise InputError(f"no usable checkpoint in {folder}: {error}") from error
    return agent.eval()


def warn_of_newer(written: Any) -> None:
    """Warn about a checkpoint of a later ramac, where the same names may mean other things. Raises InputError."""
    if written is not None and not isinstance(written, dict):
        raise InputError("agent.json: versions must be a version per package")
    ours, theirs = versions(["ramac"])["ramac"], (written or {}).get("ramac")
    if theirs is not None and release(str(theirs)) > release(ours):
        warnings.warn(f"this checkpoint was written by ramac {theirs}; here is {ours}", stacklevel=3)


def release(version: str) -> tuple[int, ...]:
    """Major and minor version: (0, 1) of `0.1.0`; empty for other text."""
    found = re.match(r"(\d{1,6})\.(\d{1,6})", version)
    return tuple(map(int, found.groups())) if found else ()


def step_of(folder: Path) -> int | None:
    """The gradient step whose policy is in a checkpoint folder; None where agent.json does not tell."""
    try:
        step = read_json(folder / "agent.json", folder, LONG_JSON_BYTES).get("step")
    except InputError:
        return None
    return step if type(step) is int and step >= 0 else None
