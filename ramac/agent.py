"""An agent: actor, critic and risk measure, and how it acts."""

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tensordict import TensorDict
from torch import nn

from ramac.actors import Actor
from ramac.critics import Critic
from ramac.errors import InputError
from ramac.registry import actors, critics, risks
from ramac.risk import RiskMeasure
from ramac.spec import Spec

PARTS = {"actor": actors, "critic": critics, "risk": risks}


class Agent(nn.Module):
    """What is trained, averaged and saved together."""

    def __init__(self, actor: Actor, critic: Critic, risk: RiskMeasure) -> None:
        super().__init__()
        self.actor, self.critic, self.risk = actor, critic, risk

    @classmethod
    def build(cls, parts: Mapping[str, Any], spec: Spec) -> "Agent":
        """Agent of `parts["actor"]`, `["critic"]`, `["risk"]` (names or configuration nodes)."""
        risk = risks.build(parts["risk"])
        agent = cls(actors.build(parts["actor"], spec), critics.build(parts["critic"], spec), risk)
        if not agent.critic.distributional and risk.cvar_level != 1:
            name = risks.label(parts["risk"])
            warnings.warn(f"this critic learns the mean only: risk={name} reads as the mean", stacklevel=2)
        return agent

    @torch.no_grad()
    def act(self, observation: np.ndarray) -> np.ndarray:
        """observation [*b, O] -> action [*b, A] inside the box, drawn with torch's global generator."""
        device = self.actor.scaling.half_width.device
        state = torch.as_tensor(observation, device=device)
        action = self.actor(TensorDict({"observation": state}, state.shape[:-1]))["action"]
        return action.cpu().numpy()


def save(agent: Agent, parts: Mapping[str, Any], folder: Path) -> None:
    """Write `agent.safetensors` (weights) and `agent.json` (entries, arguments, spec): data only, nothing that runs.

    Each file is written beside its place and renamed, so a reader never meets half of one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    description = {group: registry.plain(parts[group]) for group, registry in PARTS.items()}
    description["spec"] = asdict(agent.actor.spec)
    state = {key: value.detach().cpu().contiguous() for key, value in agent.state_dict().items()}
    save_file(state, folder / "agent.safetensors.part")
    (folder / "agent.json.part").write_text(json.dumps(description, indent=2) + "\n")
    for name in ("agent.safetensors", "agent.json"):
        os.replace(folder / f"{name}.part", folder / name)


def load(path: str | Path) -> Agent:
    """Agent of a run folder or its checkpoint folder: `load(PATH).act(observation)`. Raises InputError."""
    folder = Path(path)
    folder = folder / "checkpoint" if (folder / "checkpoint").is_dir() else folder
    try:
        description = json.loads((folder / "agent.json").read_text())
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in description["spec"].items()}
        spec = Spec(**values)
        agent = Agent.build(description, spec)
        agent.load_state_dict(load_file(folder / "agent.safetensors"))
    except InputError:
        raise
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError, SafetensorError) as error:
        raise InputError(f"no usable checkpoint in {folder}: {error}") from error
    return agent.eval()
