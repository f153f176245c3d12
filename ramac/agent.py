"""An agent: actor, critic and risk measure, and how it acts."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase  # pyright: ignore[reportMissingTypeStubs]
from torch import Tensor

from ramac.actors import Actor, central
from ramac.critics import Critic
from ramac.errors import InputError
from ramac.registry import actors, critics, risks
from ramac.risk import RiskMeasure, edges, midpoints
from ramac.spec import Spec
from ramac.system.runtime import seeded
from ramac.system.weights import Allowance

if TYPE_CHECKING:
    from torchrl.data import Composite  # pyright: ignore[reportMissingTypeStubs]

ROWS = 2**14  # pairs (s, a), or values of Z, that the critic computes at once
FAR = 1e6  # standard deviations: a sound network is finite there, so a non-finite output is not the observation's fault


@dataclass(frozen=True)
class Acting:
    """How an agent acts: a sample of the actor, its central action (`mode`), or one of several candidates.

    Of `candidates` samples it takes the best by the risk measure (IDQL; Diffusion-QL). With a `temperature` it draws
    one, with probabilities softmax(rho / temperature); rho counts in standard deviations of the logged returns.
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


class Agent(TensorDictModuleBase):
    """Actor, critic and risk measure, trained, averaged and saved together; a policy of TorchRL.

    Called on a TensorDict, it acts as `acting` says. The other public methods take and give numpy arrays.
    """

    def __init__(self, actor: Actor, critic: Critic, risk: RiskMeasure, acting: "Acting | None" = None) -> None:
        super().__init__()
        self.actor, self.critic, self.risk = actor, critic, risk
        self.acting = acting or Acting()
        self.in_keys, self.out_keys = ["observation"], ["action"]

    @property
    def spec(self) -> "Composite":
        """TorchRL's specification of what the policy writes: `action` in its box."""
        return self.actor.spec

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
    def act(self, observation: Any, deterministic: bool | None = None, seed: int | None = None) -> np.ndarray:
        """observation [*b, O] -> action [*b, A] inside the box.

        `deterministic`: True is the actor's central action, False a sample, None what `acting` says. With a seed the
        draws leave torch's global generators alone, without one they come from them.
        Raises InputError, and FloatingPointError when the weights give a non-finite action.
        """
        state = self.tensor("observation", observation)
        with seeded(seed, state.device):
            found = self(TensorDict({"observation": state}, state.shape[:-1]), mode=deterministic)
        return self.finite("the policy's action", cast("Tensor", found["action"]), state)

    @torch.no_grad()
    def forward(self, tensordict: TensorDictBase, mode: bool | None = None) -> TensorDictBase:
        """Set `action` [*b, A] inside the box for `observation` [*b, O], without gradient.

        `mode`: the actor's central action. None is what TorchRL's `set_exploration_type` says, or what `acting` says.
        """
        mode = central() or self.acting.mode if mode is None else mode
        if self.acting.candidates == 1 or mode:
            return self.actor(tensordict, mode=mode)
        state = cast("Tensor", tensordict["observation"])
        rows = torch.split(state.reshape(-1, state.shape[-1]), max(1, ROWS // self.acting.candidates))
        action = torch.cat([self.choose(part) for part in rows]).reshape(*state.shape[:-1], -1)
        return tensordict.set("action", action)  # pyright: ignore[reportUnknownMemberType]

    @torch.no_grad()
    def returns(
        self,
        observation: Any,
        action: Any,
        levels: int | Sequence[float] | np.ndarray | None = 32,  # as many as iqn draws
        members: bool = False,
    ) -> np.ndarray:
        """Quantiles of the discounted return Z(s, a) [*b, N] in reward units, each the mean over the ensemble.

        observation [*b, O], action [*b, A]; with `members` the members' own, [*b, E, N]. `levels`: N numbers in
        [0, 1], 0 being the worst outcome, or N for the midpoints of N equal cells, or None for the critic's own N.
        Raises InputError, and FloatingPointError when the weights give a non-finite return.
        """
        level = levels_of(self.critic.levels if levels is None else levels).to(self.actor.scaling.half_width)

        def read(pairs: TensorDict) -> Tensor:
            value = self.critic(pairs, level.expand(len(pairs), -1))["value"]
            return value if members else value.mean(-2)

        return self.read("return", observation, action, len(level), read)

    @torch.no_grad()
    def risk_of(self, observation: Any, action: Any) -> np.ndarray:
        """The lowest member's rho(Z(s, a)) [*b] in reward units, by the agent's risk measure.

        observation [*b, O], action [*b, A]. A critic that estimates rho at random levels draws them from torch's
        global generators. Raises InputError, and FloatingPointError when the weights give a non-finite value.
        """
        return self.read("risk", observation, action, self.critic.risk_levels, self.lowest_risk)

    def lowest_risk(self, pairs: TensorDict) -> Tensor:
        """rho of the lowest member [*b] for pairs of `observation` [*b, O] and `action` [*b, A]."""
        return self.critic.risk(pairs, self.risk).amin(-1)

    def read(
        self, name: str, observation: Any, action: Any, size: int, function: Callable[[TensorDict], Tensor]
    ) -> np.ndarray:
        """`function` of pairs [B], which takes `size` values each, over the leading dimensions of both arrays."""
        state, taken = self.tensor("observation", observation), self.tensor("action", action)
        shape = state.shape[:-1]
        if taken.shape[:-1] != shape:
            found = f"{list(state.shape)} and {list(taken.shape)}"
            raise InputError(f"observation and action must agree in all dimensions but the last, got {found}")
        flat = (value.reshape(-1, value.shape[-1]) for value in (state, taken))
        parts = zip(*(torch.split(rows, max(1, ROWS // size)) for rows in flat), strict=True)
        found = torch.cat([function(TensorDict({"observation": s, "action": a}, [len(s)])) for s, a in parts])
        return self.finite(f"the critic's {name}", found.reshape((*shape, *found.shape[1:])), state)

    def tensor(self, name: str, value: Any) -> Tensor:
        """An `observation` [*b, O] or an `action` [*b, A], on the agent's device. Raises InputError."""
        try:
            array = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
        except (ValueError, TypeError, RuntimeError) as error:
            raise InputError(f"an {name} must be an array of numbers: {error}") from error
        size = {"observation": self.actor.data_spec.obs_dim, "action": self.actor.data_spec.act_dim}[name]
        if array.dtype.kind not in "fiub":
            raise InputError(f"an {name} must be an array of real numbers, got {array.dtype}")
        if array.shape[-1:] != (size,):
            raise InputError(f"an {name} must have shape [..., {size}], got {list(array.shape)}")
        if not np.isfinite(array).all():
            raise InputError(f"an {name} is nan or infinite in {int((~np.isfinite(array)).sum())} places")
        half_width = self.actor.scaling.half_width  # of the networks' type, on their device
        most = np.float64(torch.finfo(half_width.dtype).max)
        if (far := np.abs(array) > most).any():
            raise InputError(f"an {name} must be within ±{most:.3g}, got {array[far][0]!s}")
        return torch.as_tensor(as_torch_takes(array), device=half_width.device)

    def finite(self, name: str, value: Tensor, state: Tensor) -> np.ndarray:
        """The values on the host, computed from observations `state` [*b, O].

        Raises FloatingPointError for NaN or inf, InputError where the observations are the reason.
        """
        found = value.cpu().numpy()
        if not np.isfinite(found).all():
            if not (far := self.actor.scaling.observe(state).abs().max()) < FAR:
                raise InputError(f"an observation is {far:.3g} standard deviations from the logged ones: too far")
            raise FloatingPointError(f"{name} is nan: training has diverged")
        return found

    def choose(self, state: Tensor) -> Tensor:
        """observation [B, O] -> one action [B, A] of several candidates, by the lowest member's risk measure."""
        count = self.acting.candidates
        repeated = TensorDict({"observation": state.unsqueeze(1).expand(-1, count, -1)}, (len(state), count))
        pairs = self.actor(repeated, mode=False)
        rho = self.critic.standard_risk(pairs, self.risk).amin(-1)  # [B, C]
        if self.acting.temperature:
            above = rho - rho.amax(-1, keepdim=True)  # a tiny temperature must not divide two infinities
            chosen = torch.multinomial((above / self.acting.temperature).softmax(-1), 1)
        else:
            chosen = rho.argmax(-1, keepdim=True)
        return pairs["action"].take_along_dim(chosen.unsqueeze(-1), 1).squeeze(1)


def levels_of(levels: int | Sequence[float] | np.ndarray) -> Tensor:
    """The levels themselves, or the midpoints of so many equal cells: [N] float64. Raises InputError."""
    if isinstance(levels, int | np.integer):
        if not 1 <= levels <= ROWS:
            raise InputError(f"levels must be a number from 1 to {ROWS}, or levels in [0, 1], got {levels}")
        return midpoints(edges(int(levels), torch.empty(0, dtype=torch.float64)))
    try:
        found = np.asarray(levels, np.float64)
    except (ValueError, TypeError) as error:
        raise InputError(f"levels must be numbers in [0, 1]: {error}") from error
    if found.ndim != 1 or not 1 <= len(found) <= ROWS:
        raise InputError(f"levels must have shape [N], N from 1 to {ROWS}, got {list(found.shape)}")
    if not ((found >= 0) & (found <= 1)).all():
        raise InputError(f"levels must be in [0, 1], got {found[~((found >= 0) & (found <= 1))][0]}")
    return torch.as_tensor(found)


def as_torch_takes(array: np.ndarray) -> np.ndarray:
    """A copy of real numbers [*b] in a type and layout that torch has.

    It has no other byte orders, negative strides or read-only memory. Types of torch are kept; long double and unsigned
    integers of more than a byte become float64.
    """
    kind = array.dtype.newbyteorder("=")
    if kind.itemsize > {"f": 8, "u": 1}.get(kind.kind, 8):
        kind = np.dtype(np.float64)
    return np.array(array, kind, order="C")
