"""An agent: actor, critic and risk measure, and how it acts."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict
from torch import nn

from ramac.actors import Actor
from ramac.critics import Critic
from ramac.errors import InputError
from ramac.registry import actors, critics, risks
from ramac.risk import RiskMeasure
from ramac.spec import Spec
from ramac.system.untrusted import Allowance

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
            rows = torch.split(state.reshape(-1, state.shape[-1]), max(1, ROWS // self.acting.candidates))
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
