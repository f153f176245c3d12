"""Terms that keep values low outside the data, and the policy random."""

import math
from typing import Any, ClassVar, Literal

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from ramac.agent import Agent
from ramac.errors import at_least, at_most
from ramac.losses import POLICY_ACTION, POLICY_LOG_PROB, Term, draw
from ramac.registry import losses
from ramac.risk import stratified
from ramac.risk.distortions import Neutral
from ramac.spec import Spec


@losses.register("conservative", suffix="weight")
class Conservative(Term):
    """Lower Z at actions the data do not know: log E_a exp(Z(s, a)) / q(a) - Z(s, a_data).

    Proposals are uniform actions, and where the actor has a density q its own at s and at s'. Sum over members.
    Paper: Kumar et al. 2020, Conservative Q-Learning; codac: Ma et al. 2021, Conservative Offline Distributional RL.

    Args:
        form: `cql` with the mean of Z, `codac` level by level.
        actions: Actions drawn per proposal; default as in CQL.
        normalise: Unit of Z, so also of the loss and the temperature of the exponential: `std`, one standard deviation
            of the logged returns; `none`, one reward unit, as in CQL and CODAC.
        budget: Lagrange option of CQL, in the unit of the loss; null: a fixed weight.
    """

    group = "critic"
    reads: ClassVar[list[Any]] = ["observation", "action", ("next", "observation")]
    needs = ("loss.td",)

    def __init__(
        self,
        *,
        form: Literal["cql", "codac"] = "cql",
        actions: int = 10,
        normalise: Literal["std", "none"] = "std",
        **schedule: Any,
    ) -> None:
        super().__init__(**schedule)
        at_least(1, actions=actions)
        at_most(1000, actions=actions)
        self.form, self.actions, self.normalise = form, actions, normalise
        if form == "codac":
            self.needs = (*self.needs, "critic.differentiable_quantile")

    @torch.no_grad()
    def proposals(self, tensordict: TensorDictBase, agent: Agent) -> tuple[Tensor, Tensor]:
        """Actions in [-1, 1] [B, K, A] and their log densities [B, K]."""
        batch, actor = len(tensordict), agent.actor
        width = actor.scaling.half_width
        unit = 2 * torch.rand(batch, self.actions, len(width), dtype=width.dtype, device=width.device) - 1
        found = [(unit, torch.full_like(unit[..., 0], -math.log(2) * len(width)))]
        if hasattr(actor, "sample_with_log_prob"):
            for key in ("observation", ("next", "observation")):
                own = draw(actor, tensordict.get(key).repeat_interleave(self.actions, 0), "log_prob")
                unit = actor.scaling.to_unit(own.get("action"))
                found.append((unit.unflatten(0, (batch, -1)), own.get("log_prob").unflatten(0, (batch, -1))))
        action, density = zip(*found, strict=True)
        return torch.cat(action, 1), torch.cat(density, 1)

    def forward(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> Tensor:
        critic, scaling = agent.critic, agent.critic.scaling
        unit, density = self.proposals(tensordict, agent)
        action = torch.cat([tensordict.get("action").unsqueeze(1), scaling.to_box(unit)], 1)  # the logged one first
        observation = tensordict.get("observation").unsqueeze(1).expand(-1, action.shape[1], -1)
        pairs = TensorDict({"observation": observation, "action": action}, action.shape[:2])
        if self.form == "cql":
            value = critic.standard_risk(pairs, Neutral()).unsqueeze(-1)  # [B, 1+K, E, 1]
        else:
            # the same for all actions
            level = stratified((len(tensordict), 1), critic.levels, unit).expand(-1, action.shape[1], -1)
            value = critic.standard_values(pairs, level)[1].movedim(0, 1).unflatten(0, action.shape[:2])
        value = value * scaling.return_std if self.normalise == "none" else value  # the mean of the returns cancels
        score = value[:, 1:] - density[..., None, None]
        gap = score.logsumexp(1) - math.log(density.shape[1]) - value[:, 0]
        return gap.mean(-1).sum(-1)


@losses.register("entropy", suffix="weight")
class Entropy(Term):
    """Entropy bonus weight * log pi(a|s) at the actor's own action, a in [-1, 1].

    The temperature counts per standard deviation of the returns, as the weight of a value term with `normalise=std`.
    Paper: Haarnoja et al. 2018, Soft Actor-Critic Algorithms and Applications.

    Args:
        automatic: The weight is a temperature that keeps the entropy at or above `-budget`.
        backup: Also take the bonus off the next value in TD's target.
        budget: Minus the least entropy; null: -A, for A action dimensions.
    """

    group = "actor"
    reads: ClassVar[list[Any]] = ["observation", POLICY_ACTION, POLICY_LOG_PROB]

    def __init__(self, spec: Spec, *, automatic: bool = True, backup: bool = False, **schedule: Any) -> None:
        if schedule.get("budget") is not None and not automatic:
            raise ValueError("a budget needs automatic=true")
        if automatic and schedule.get("budget") is None:
            schedule["budget"] = float(spec.act_dim)
        super().__init__(**schedule)
        self.next_log_prob = self.adds_bonus = backup

    def bonus(self, pair: TensorDictBase, tensordict: TensorDictBase, agent: Agent) -> Tensor:
        return -self.weight_at(tensordict.get("step")[0]) * pair.get("log_prob").unsqueeze(-1)

    def forward(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> Tensor:
        return tensordict.get(POLICY_LOG_PROB)
