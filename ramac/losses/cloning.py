"""Terms that pull the actor towards actions it is given: the log's, weighted or not, and a teacher's."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from tensordict import TensorDictBase
from torch import Tensor

from ramac.agent import Agent
from ramac.errors import at_least
from ramac.losses import DENOISED, POLICY_TEACHER, Term, draw, pair_of
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

    The output counts before it is clipped: a student that has left the box is drawn back.
    Paper: Park et al. 2025, Flow Q-Learning.
    """

    group = "actor"
    reads: ClassVar[list[Any]] = ["observation", POLICY_TEACHER]

    def forward(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> Tensor:
        return tensordict.get(POLICY_TEACHER).square().mean(-1)


@losses.register("awr", suffix="weight")
class AWR(Term):
    """Behaviour cloning weighted by the risk advantage: min(exp(b A), most) L_bc, A = (rho(Z'(s, a)) - V(s)) / sd.

    V is `iql`'s value where that term is there, otherwise rho at an action of the actor; sd is the standard deviation
    of the logged returns. The value never passes through the generative chain.
    Paper: Peng et al. 2019, Advantage-Weighted Regression; as here Kostrikov et al. 2022, IQL.
    """

    group = "actor"
    reads: ClassVar[list[Any]] = ["observation", "action"]
    needs = ("loss.td",)
    uses_others = True

    def __init__(
        self,
        spec: Spec | None = None,
        others: Sequence[Term] = (),
        *,
        inverse_temperature: float = 3.0,  # IQL on locomotion, where it is per 1/1000 of the range of returns
        most: float = 100.0,  # IQL
        **schedule: Any,
    ) -> None:
        super().__init__(spec, others, **schedule)
        at_least(0, inverse_temperature=inverse_temperature, most=most)
        self.inverse_temperature, self.most = inverse_temperature, most

    def baseline(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> Tensor:
        """V(s) in reward units: [B]."""
        observation = tensordict.get("observation")
        for term in self.others:
            if (value := term.next_value(observation)) is not None:
                return value.squeeze(-1)
        own = draw(agent.actor, observation).get("action")
        return target.critic.risk(pair_of(tensordict, own), agent.risk).amin(-1)

    def forward(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> Tensor:
        with torch.no_grad():
            rho = target.critic.risk(tensordict, agent.risk).amin(-1)
            advantage = (rho - self.baseline(tensordict, agent, target)) / agent.critic.scaling.return_std
            weight = (self.inverse_temperature * advantage).exp().clamp(max=self.most)
        return weight * agent.actor.bc(tensordict)
