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
from ramac.critics import Critic, levels_of
from ramac.errors import InputError
from ramac.registry import actors, critics, risks
from ramac.risk import RiskMeasure
from ramac.risk.context import Context, on_host
from ramac.spec import Spec
from ramac.system.arrays import as_torch_takes
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

    Networks read what the risk measure needs at the end of an observation, in the order of `risk.context`: for
    `horizon=episode` the reward so far and the discount gamma^t, then the dials. Observations [*b, O] may come without
    them, or without the dials. What is missing is given by name, `act(observation, alpha=0.1)`, or as an entry of that
    name of a TensorDict, or is in `context.values`: at first the start of an episode, and the first end of each dial.
    """

    def __init__(self, actor: Actor, critic: Critic, risk: RiskMeasure, acting: "Acting | None" = None) -> None:
        super().__init__()
        self.actor, self.critic, self.risk = actor, critic, risk
        self.acting = acting or Acting()
        self.context = Context(risk)
        self.in_keys, self.out_keys = ["observation"], ["action"]

    @property
    def spec(self) -> "Composite":
        """TorchRL's specification of what the policy writes: `action` in its box."""
        return self.actor.spec

    @property
    def obs_dim(self) -> int:
        """Numbers of an observation without those that the risk measure reads."""
        return self.actor.data_spec.obs_dim - len(self.context)

    @property
    def spec_of_data(self) -> Spec:
        """The spec without dials, which `build` adds."""
        return self.actor.data_spec.shortened(len(self.context.dials))

    @classmethod
    def build(cls, parts: Mapping[str, Any], spec: Spec) -> "Agent":
        """Agent of `parts["actor"]`, `["critic"]`, `["risk"]` (names or configuration nodes)."""
        risk, acting = risks.build(parts["risk"]), Acting.of(parts)
        spec = Context(risk).extend(spec)
        with Allowance():
            agent = cls(actors.build(parts["actor"], spec), critics.build(parts["critic"], spec), risk, acting)
        if not agent.critic.distributional and not risk.is_mean:
            name = risks.label(parts["risk"])
            if risk.context:
                what = "a range" if risk.whole is risk else "the mean of a utility"
                raise InputError(f"risk={name} is {what}, which a critic of the mean alone cannot read")
            warnings.warn(f"this critic learns the mean only: risk={name} reads as the mean", stacklevel=2)
        return agent

    @torch.no_grad()
    def act(
        self, observation: Any, deterministic: bool | None = None, seed: int | None = None, **context: Any
    ) -> np.ndarray:
        """observation [*b, O] -> action [*b, A] inside the box.

        `deterministic`: True is the actor's central action, False a sample, None what `acting` says. With a seed the
        draws leave torch's global generators alone, without one they come from them. `context`: numbers or arrays [*b]
        that the risk measure reads. Raises InputError, and FloatingPointError when the weights give a non-finite
        action.
        """
        state = self.complete(self.tensor("observation", observation), on_host(context))
        with seeded(seed, state.device):
            found = self(TensorDict({"observation": state}, state.shape[:-1]), mode=deterministic)
        return self.finite("the policy's action", cast("Tensor", found["action"]), state)

    @torch.no_grad()
    def forward(self, tensordict: TensorDictBase, mode: bool | None = None) -> TensorDictBase:
        """Set `action` [*b, A] inside the box for `observation` [*b, O], without gradient.

        `mode`: the actor's central action. None is what TorchRL's `set_exploration_type` says, or what `acting` says.
        """
        mode = central() or self.acting.mode if mode is None else mode
        state = cast("Tensor", tensordict["observation"])
        if self.context.names:
            found: dict[str, Any] = {}
            for name in self.context.names:
                found[name] = tensordict.get(name, None)  # pyright: ignore[reportUnknownMemberType]
            state = self.complete(state, {name: value for name, value in found.items() if value is not None})
        if self.acting.candidates == 1 or mode:
            if state is tensordict["observation"]:
                return self.actor(tensordict, mode=mode)
            action = self.actor(TensorDict({"observation": state}, state.shape[:-1]), mode=mode)["action"]
            return tensordict.set("action", action)  # pyright: ignore[reportUnknownMemberType]
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
        **context: Any,
    ) -> np.ndarray:
        """Quantiles of the discounted return Z(s, a) [*b, N] in reward units, each the mean over the ensemble.

        observation [*b, O], action [*b, A]; with `members` the members' own, [*b, E, N]. `levels`: N numbers in
        [0, 1], 0 being the worst outcome, or N for the midpoints of N equal cells, or None for the critic's own N.
        `context`: as in `act`. Raises InputError, and FloatingPointError when the weights give a non-finite return.
        """
        level = levels_of(self.critic.levels if levels is None else levels, ROWS).to(self.actor.scaling.half_width)

        def read(pairs: TensorDict) -> Tensor:
            value = self.critic(pairs, level.expand(len(pairs), -1))["value"]
            return value if members else value.mean(-2)

        return self.read("return", observation, action, context, len(level), read)

    @torch.no_grad()
    def risk_of(self, observation: Any, action: Any, **context: Any) -> np.ndarray:
        """The lowest member's rho(Z(s, a)) [*b] in reward units, by the agent's risk measure.

        observation [*b, O], action [*b, A]. A critic that estimates rho at random levels draws them from torch's
        global generators. `context`: as in `act`. Raises InputError, and FloatingPointError when the weights give a
        non-finite value.
        """
        return self.read("risk", observation, action, context, self.critic.risk_levels, self.lowest_risk)

    def lowest_risk(self, pairs: TensorDict) -> Tensor:
        """rho of the lowest member [*b] for pairs of `observation` [*b, O] and `action` [*b, A]."""
        return self.critic.risk(pairs, self.risk).amin(-1)

    def read(
        self, name: str, observation: Any, action: Any, context: Mapping[str, Any], size: int,
        function: Callable[[TensorDict], Tensor],
    ) -> np.ndarray:  # fmt: skip
        """`function` of pairs [B], which takes `size` values each, over the leading dimensions of both arrays."""
        state = self.complete(self.tensor("observation", observation), on_host(context))
        taken = self.tensor("action", action)
        if taken.shape[:-1] != (shape := state.shape[:-1]):
            found = f"{list(state.shape)} and {list(taken.shape)}"
            raise InputError(f"observation and action must agree in all dimensions but the last, got {found}")
        flat = (value.reshape(-1, value.shape[-1]) for value in (state, taken))
        parts = zip(*(torch.split(rows, max(1, ROWS // size)) for rows in flat), strict=True)
        found = torch.cat([function(TensorDict({"observation": s, "action": a}, [len(s)])) for s, a in parts])
        return self.finite(f"the critic's {name}", found.reshape((*shape, *found.shape[1:])), state)

    def complete(self, observation: Tensor, given: Mapping[str, Any]) -> Tensor:
        """observation [*b, O] with all numbers of the context. Raises InputError."""
        return self.context.complete(observation, self.actor.data_spec.obs_dim, given)

    def tensor(self, name: str, value: Any) -> Tensor:
        """An `observation` [*b, O] or an `action` [*b, A], on the agent's device. Raises InputError."""
        try:
            array = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
        except (ValueError, TypeError, RuntimeError) as error:
            raise InputError(f"an {name} must be an array of numbers: {error}") from error
        spec = self.actor.data_spec
        widths = {"observation": self.context.widths(spec.obs_dim), "action": {spec.act_dim}}[name]
        if array.dtype.kind not in "fiub":
            raise InputError(f"an {name} must be an array of real numbers, got {array.dtype}")
        if array.ndim == 0 or array.shape[-1] not in widths:
            raise InputError(f"an {name} must have shape [..., {min(widths)}], got {list(array.shape)}")
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
