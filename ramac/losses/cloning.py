"""Terms that pull the actor towards actions it is given: the log's, weighted or not, and a teacher's."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from tensordict import TensorDictBase
from torch import Tensor

from ramac.agent import Agent
from ramac.errors import at_least
from ramac.losses import DENOISED, POLICY_TEACHER, Term, draw, pair_of
from ramac.losses.term import SetsNextValue, sets_next_value
from ramac.registry import losses
from ramac.spec import Spec


@losses.register("bc", suffix="weight")
class BC(Term):
    """Behaviour cloning with the actor's own loss: noise or flow matching, -log pi, evidence bound, squared error.

    Paper: Wang et al. 2023, Diffusion-QL; Fukazawa et al. 2026, RAMAC; budget: Kumar et al. 2019, BEAR.
    """

    group = "actor"
    reads: ClassVar[list[Any]] = ["observation", "action"]

    def forward(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> Tensor:
        if (denoised := tensordict.get(DENOISED, None)) is not None:  # another term has asked for the same pass
            return denoised.get("loss")
        return agent.actor.bc(tensordict)


@losses.register("distill", suffix="weight")
class Distill(Term):
    """Squared distance of the student's output to the teacher's action from the same noise.

    mean |mu(s, z) - a(s, z)|^2, z the noise. The output counts before it is clipped: a student that
    has left the box is drawn back.
    Paper: Park et al. 2025, Flow Q-Learning.
    """

    group = "actor"
    reads: ClassVar[list[Any]] = ["observation", POLICY_TEACHER]

    def forward(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> Tensor:
        return tensordict.get(POLICY_TEACHER).square().mean(-1)


@losses.register("awr", suffix="weight")
class AWR(Term):
    """Behaviour cloning weighted by the risk advantage: min(exp(b A), most) L_bc, A = rho(Z'(s, a)) - V(s).

    A counts in standard deviations of the logged returns. V is `iql`'s value where that term is there, otherwise rho at
    an action of the actor. b is `inverse_temperature`. With an `effective_sample_size` n in (0, 1) instead, b is
    sqrt(-ln n) / sd(A) and A is taken from its mean, so that of a batch with normal advantages the share n counts. The
    share that counts is reported. The value never passes through the generative chain.
    Paper: Peng et al. 2019, Advantage-Weighted Regression; as here Kostrikov et al. 2022, IQL.

    Args:
        effective_sample_size: Share of the batch that counts, sets the temperature; 0.5 is between REPS (KL 0.5: 0.37)
            and MPO (KL 0.1: 0.82).
        inverse_temperature: Fixed inverse temperature instead; IQL on locomotion: 3 per 1/1000 of the range of returns.
        most: Upper bound of a weight; default as in IQL.
    """

    group = "actor"
    reads: ClassVar[list[Any]] = ["observation", "action"]
    needs = ("loss.td",)
    reports = ("effective_sample_size",)
    uses_others = True

    def __init__(
        self,
        spec: Spec | None = None,
        others: Sequence[Term] = (),
        *,
        effective_sample_size: float | None = 0.5,
        inverse_temperature: float | None = None,
        most: float = 100.0,
        **schedule: Any,
    ) -> None:
        super().__init__(spec, others, **schedule)
        if not 0 < most < math.inf:
            raise ValueError(f"most must be positive and finite, got {most}")
        if (effective_sample_size is None) == (inverse_temperature is None):
            given = f"effective_sample_size={effective_sample_size}, inverse_temperature={inverse_temperature}"
            raise ValueError(f"one of effective_sample_size and inverse_temperature is null, got {given}")
        if inverse_temperature is not None:
            at_least(0, inverse_temperature=inverse_temperature)
        elif not 0 < cast("float", effective_sample_size) < 1:
            raise ValueError(f"effective_sample_size must be inside (0, 1), got {effective_sample_size}")
        self.effective_sample_size, self.inverse_temperature = effective_sample_size, inverse_temperature
        self.most = most
        self.sources = cast("list[SetsNextValue]", [term for term in self.others if sets_next_value(term)])

    def baseline(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> Tensor:
        """V(s) in standardised returns: [B]."""
        observation = tensordict.get("observation")
        if self.sources:
            return self.sources[0].next_value(observation).squeeze(-1)
        own = draw(agent.actor, observation).get("action")
        return target.critic.standard_risk(pair_of(tensordict, own), agent.risk).amin(-1)

    def weights(self, advantage: Tensor) -> Tensor:
        """min(exp(b A), most) of standardised advantages [B]: [B]."""
        if self.inverse_temperature is not None:
            return (self.inverse_temperature * advantage).exp().clamp(max=self.most)
        assert self.effective_sample_size is not None
        scale = math.sqrt(-math.log(self.effective_sample_size)) / advantage.std(correction=0).clamp_min(1e-6)
        return (scale * (advantage - advantage.mean())).exp().clamp(max=self.most)

    def warning(self, reports: Mapping[str, float]) -> str | None:
        found = reports["effective_sample_size"]
        if found <= 0.95:
            return None
        text = f"its weights are nearly equal (effective sample size {found:.3f} at the end), so it is plain cloning"
        return f"{text}; raise inverse_temperature or set effective_sample_size"

    def forward(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            rho = target.critic.standard_risk(tensordict, agent.risk).amin(-1)
            weight = self.weights(rho - self.baseline(tensordict, agent, target))
            share = weight / weight.amax().clamp_min(torch.finfo(weight.dtype).tiny)  # tiny weights have no square
            effective = share.mean().square() / share.square().mean().clamp_min(torch.finfo(weight.dtype).tiny)
        return weight * agent.actor.bc(tensordict), effective
