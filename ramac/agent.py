"""An agent: actor, critic and risk measure, and how it acts."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict
from torch import nn

from ramac.actors import Actor
from ramac.critics import Critic
from ramac.errors import InputError, nearest
from ramac.files import checksum_of_json, write_json, write_tensors
from ramac.folder import versions
from ramac.registry import actors, critics, risks
from ramac.risk import RiskMeasure
from ramac.spec import Spec
from ramac.untrusted import Allowance, Weights, read_json, refuse_instructions

PARTS = {"actor": actors, "critic": critics, "risk": risks}
PACKAGES = ("ramac", "torch", "tensordict", "diffusers", "torchdyn")  # that an agent's actions depend on
ROWS = 2**14  # candidates that are judged at once


@dataclass(frozen=True)
class Acting:
    """How an agent acts: a sample of the actor, its central action (`mode`), or one of several candidates.

    Of `candidates` samples the best by the risk measure is taken (IDQL; Diffusion-QL), or with a `temperature`, in
    units of reward, one drawn with probabilities softmax(rho / temperature).
    """

    candidates: int = 1
    temperature: float = 0.0
    mode: bool = False

    @classmethod
    def of(cls, parts: Mapping[str, Any]) -> "Acting":
        """The fields of a configuration. Raises InputError."""
        acting = cls(**{field.name: parts[field.name] for field in fields(cls) if field.name in parts})
        if type(acting.candidates) is not int or acting.candidates < 1:
            raise InputError(f"candidates must be a whole number from 1, got {acting.candidates!r}")
        if acting.candidates > ROWS:
            raise InputError(f"candidates must be at most {ROWS}, got {acting.candidates}")
        if type(acting.temperature) not in (int, float) or not 0 <= acting.temperature < float("inf"):
            raise InputError(f"temperature must be finite and not negative, got {acting.temperature!r}")
        if type(acting.mode) is not bool:
            raise InputError(f"mode must be true or false, got {acting.mode!r}")
        if acting.mode and acting.candidates > 1:
            raise InputError(
                f"mode=true is a single action, candidates={acting.candidates} are samples; set one of them"
            )
        if acting.temperature and acting.candidates == 1:
            raise InputError(f"temperature={acting.temperature} chooses among candidates; set candidates=N too")
        return acting


class Agent(nn.Module):
    """What is trained, averaged and saved together."""

    def __init__(self, actor: Actor, critic: Critic, risk: RiskMeasure, acting: "Acting | None" = None) -> None:
        super().__init__()
        self.actor, self.critic, self.risk = actor, critic, risk
        self.acting = acting or Acting()

    @classmethod
    def build(cls, parts: Mapping[str, Any], spec: Spec) -> "Agent":
        """Agent of `parts["actor"]`, `["critic"]`, `["risk"]` (names or configuration nodes)."""
        risk = risks.build(parts["risk"])
        acting = Acting.of(parts)
        with Allowance():
            agent = cls(actors.build(parts["actor"], spec), critics.build(parts["critic"], spec), risk, acting)
        if not agent.critic.distributional and risk.cvar_level != 1:
            name = risks.label(parts["risk"])
            warnings.warn(f"this critic learns the mean only: risk={name} reads as the mean", stacklevel=2)
        return agent

    @torch.no_grad()
    def act(self, observation: np.ndarray) -> np.ndarray:
        """observation [*b, O] -> action [*b, A] inside the box, as `acting` says, with torch's global generator.

        Raises InputError for an observation that is none, FloatingPointError when the weights give no number.
        """
        state = torch.as_tensor(self.observation(observation), device=self.actor.scaling.half_width.device)
        shape = state.shape[:-1]
        if self.acting.candidates > 1:
            rows = state.reshape(-1, state.shape[-1]).split(max(1, ROWS // self.acting.candidates))
            action = torch.cat([self.choose(part) for part in rows]).reshape(*shape, -1)
        else:
            action = self.actor(TensorDict({"observation": state}, shape), mode=self.acting.mode)["action"]
        found = action.cpu().numpy()
        if not np.isfinite(found).all():
            raise FloatingPointError("the policy's action is nan: training has diverged")
        return found

    def observation(self, value: Any) -> np.ndarray:
        """The observation [*b, O] as an array of finite numbers. Raises InputError."""
        try:
            array = np.asarray(value.cpu() if isinstance(value, torch.Tensor) else value)
        except (ValueError, TypeError, RuntimeError) as error:
            raise InputError(f"an observation must be an array of numbers: {error}") from error
        size = self.actor.spec.obs_dim
        if array.dtype.kind not in "fiub":
            raise InputError(f"an observation must be an array of real numbers, got {array.dtype}")
        if array.shape[-1:] != (size,):
            raise InputError(f"an observation must have shape [..., {size}], got {list(array.shape)}")
        if not np.isfinite(array).all():
            raise InputError(f"an observation is nan or infinite in {int((~np.isfinite(array)).sum())} places")
        return array

    def choose(self, state: torch.Tensor) -> torch.Tensor:
        """observation [B, O] -> one action [B, A] of several candidates, by the lowest member's risk measure."""
        count = self.acting.candidates
        pairs = self.actor(TensorDict({"observation": state.unsqueeze(1).expand(-1, count, -1)}, (len(state), count)))
        rho = self.critic.risk(pairs, self.risk).amin(-1)  # [B, C]
        if self.acting.temperature:
            above = rho - rho.amax(-1, keepdim=True)  # a tiny temperature must not divide two infinities
            index = torch.multinomial((above / self.acting.temperature).softmax(-1), 1)
        else:
            index = rho.argmax(-1, keepdim=True)
        return pairs["action"].take_along_dim(index.unsqueeze(-1), 1).squeeze(1)


def save(agent: Agent, parts: Mapping[str, Any], folder: Path) -> None:
    """Write `agent.safetensors` (weights) and `agent.json` (entries, arguments, spec): data only, nothing that runs.

    Each file has a checksum, and is there whole or not at all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    description: dict[str, Any] = {group: registry.plain(parts[group]) for group, registry in PARTS.items()}
    description |= {**asdict(agent.acting), "spec": asdict(agent.actor.spec), "versions": versions(PACKAGES)}
    write_tensors(folder / "agent.safetensors", agent.state_dict())
    write_json(folder / "agent.json", {**description, "sha256": checksum_of_json(description)})


def load(path: str | Path, root: str | Path | None = None) -> Agent:
    """Agent of a run folder or its checkpoint folder: `load(PATH).act(observation)`, whoever wrote it.

    Every part is checked before it is used, sizes before memory is taken; no link is followed out of `root` (default:
    PATH). Raises InputError.
    """
    folder, root = Path(path), Path(path if root is None else root)
    folder = folder / "checkpoint" if (folder / "checkpoint").is_dir() else folder
    try:
        description = read_json(folder / "agent.json", root)
        weights = Weights(folder / "agent.safetensors", root)
        refuse_instructions(folder / "agent.json", description)
        warn_of_newer(description.get("versions"))
        known = {*PARTS, *(field.name for field in fields(Acting)), "spec", "versions", "sha256"}
        for key in sorted({*PARTS, "spec", *description}):
            if key not in known:
                raise InputError(f"agent.json has an unknown {key!r}{nearest(key, known)}")
            if key in (*PARTS, "spec") and not isinstance(description.get(key), dict):
                raise InputError(f"agent.json has no {key}")
        with Allowance(max(weights.numbers, 2**20), f"agent.safetensors has {weights.numbers} in all"):
            agent = Agent.build(description, Spec.of(description["spec"]))
        agent.load_state_dict(weights.load(agent.state_dict()))
        if description.get("sha256") not in (None, checksum_of_json(description)):
            raise InputError("agent.json is damaged: its checksum is another one than when it was written")
    except InputError as error:
        raise InputError(f"no usable checkpoint in {folder}: {error}") from error
    except Exception as error:  # whatever a stranger's values make of an entry, perhaps of a plug-in
        raise InputError(f"no usable checkpoint in {folder}: {error}") from error
    return agent.eval()


def warn_of_newer(written: Any) -> None:
    """Say that a checkpoint is of a later ramac, which may mean other things by the same names. Raises InputError."""
    if written is not None and not isinstance(written, dict):
        raise InputError("agent.json: versions must be a version per package")
    ours, theirs = versions(["ramac"])["ramac"], (written or {}).get("ramac")
    if theirs is not None and release(str(theirs)) > release(ours):
        warnings.warn(f"this checkpoint was written by ramac {theirs}; here is {ours}", stacklevel=3)


def release(version: str) -> tuple[int, ...]:
    """Major and minor number: (0, 1) of `0.1.0`; nothing where they are none."""
    found = re.match(r"(\d{1,6})\.(\d{1,6})", version)
    return tuple(map(int, found.groups())) if found else ()
