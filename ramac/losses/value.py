"""Terms that pass the risk measure of the return to the actor: through its chain, in one step, or as guidance."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from tensordict import TensorDictBase
from torch import Tensor

from ramac.agent import Agent
from ramac.errors import InputError
from ramac.losses import DENOISED, POLICY_ACTION, Term, pair_of
from ramac.registry import losses

Members = Literal["min", "quantile_min", "mean", "first", "random", "pooled"]


class Value(Term):
    """Base of the terms below: minus rho of the standardised return, of the members that count.

    `members`: `min`, the lowest member's risk measure; `quantile_min`, that of the lowest member level by level
    (RADAC); `mean` (FQL); `first` (TD3+BC); `random`, one of them in each update (Diffusion-QL); `pooled`, the risk
    measure of the members' equal mixture, so that their disagreement, which is ignorance, and chance are one risk
    (Rigter et al. 2022, 1R2R).

    `normalise` is the unit in which the weight counts: `std`, per standard deviation of the logged returns, so that
    neither the unit nor the zero of the rewards matters; `abs`, per detached mean |rho| in reward units, for `random`
    that of another member, which depends on the zero; `none`, per reward unit.

    Args:
        weight: Factor of the loss; 0.5 as in RADAC, measured on the bandit (docs/results/bandit.md).
        warmup: Gradient steps with weight 0, a fraction below 1: the critic knows nothing yet; RADAC: up to 300k of 2M
            updates.
        ramp: Gradient steps from 0 to `weight`, counted likewise.
        normalise: Unit in which the weight counts: `std`, `abs` (TD3+BC, FQL, Diffusion-QL) or `none`.
        members: Members of the ensemble that count; default as in CODAC and ReBRAC.
    """

    group = "actor"
    reports = ("scale",)

    def __init__(
        self,
        *,
        weight: float = 0.5,
        warmup: float = 0.15,
        ramp: float = 0.15,
        normalise: Literal["std", "abs", "none"] = "std",
        members: Members = "min",
        **schedule: Any,
    ) -> None:
        super().__init__(weight=weight, warmup=warmup, ramp=ramp, **schedule)
        self.normalise, self.members = normalise, members
        if members == "quantile_min":
            self.needs = (*self.needs, "critic.differentiable_quantile")

    def check(self, name: str, agent: Agent, terms: Mapping[str, Term]) -> None:
        super().check(name, agent, terms)
        if self.members == "pooled" and agent.critic.ensemble == 1:
            raise InputError(f"loss={name}: members=pooled is of several members, and the critic has one; leave it out")
        if self.members == "pooled" and not agent.critic.distributional:  # a mixture of means has no chance in it
            text = f"loss={name}: members=pooled needs a critic of distributions, and this one learns the mean only"
            raise InputError(f"{text}; choose members=min, or another critic")

    def measure(self, pair: TensorDictBase, agent: Agent) -> tuple[Tensor, Tensor]:
        """rho of standardised Z of `observation` and `action`, of the members that count: [B]. Also its scale: []."""
        if self.members == "quantile_min":
            rho = other = agent.critic.standard_risk_of_lowest(pair, agent.risk)
        elif self.members == "pooled":
            rho = other = agent.critic.standard_risk_of_mixture(pair, agent.risk)
        elif self.members == "first":
            rho = other = agent.critic.standard_risk(pair, agent.risk, 1).squeeze(-1)
        else:
            each = agent.critic.standard_risk(pair, agent.risk)  # [B, E]
            if self.members == "random":
                index = torch.randint(each.shape[-1], (1,), device=each.device)
                rho, other = each.index_select(-1, index), each.index_select(-1, (index + 1) % each.shape[-1])
                rho = rho.squeeze(-1)
            else:
                rho = other = each.amin(-1) if self.members == "min" else each.mean(-1)
        return rho, self.scale(other.detach(), agent)

    def scale(self, rho: Tensor, agent: Agent) -> Tensor:
        """The unit of the weight in standard deviations of the returns: []."""
        if self.normalise == "std":
            return rho.new_ones(())
        scaling = agent.critic.scaling
        if self.normalise == "none":
            return 1 / scaling.return_std
        return (scaling.to_return(rho).abs().mean() / scaling.return_std).clamp_min(1e-6)


@losses.register("risk", suffix="weight")
class Risk(Value):
    """Minus the risk measure of Z(s, a) at the actor's own action, differentiated through the generative path.

    -rho(Z(s, a)), a ~ pi(.|s); its weight is the paper's eta.
    Paper: Fukazawa et al. 2026, RAMAC; normalisation: Fujimoto & Gu 2021, TD3+BC.
    """

    reads: ClassVar[list[Any]] = ["observation", POLICY_ACTION]
    needs = ("loss.td",)

    def forward(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> tuple[Tensor, Tensor]:
        rho, scale = self.measure(pair_of(tensordict, tensordict.get(POLICY_ACTION)), agent)
        return -rho, scale


@losses.register("risk_onestep", suffix="weight")
class RiskOneStep(Value):
    """Minus the risk measure at the denoised estimate of a noised logged action: one evaluation, shared with bc.

    -rho(Z(s, a_0)), a_0 the estimate of a from x_t = c_t a + noise.
    The estimate is clipped to the box: at high noise it is wild.
    Paper: Kang et al. 2023, Efficient Diffusion Policies for Offline Reinforcement Learning.
    """

    reads: ClassVar[list[Any]] = ["observation", "action", DENOISED]
    needs = ("actor.denoise", "loss.td")

    def forward(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> tuple[Tensor, Tensor]:
        action = agent.actor.scaling.to_box(tensordict.get((DENOISED, "clean")).clamp(-1, 1))
        rho, scale = self.measure(pair_of(tensordict, action), agent)
        return -rho, scale


@losses.register("guidance", suffix="weight")
class Guidance(Value):
    """Push the denoised estimate along the critic's gradient at the noised action: -c_t <grad_a rho(Z(s, x_t)), a_0>.

    c_t is the share of signal in x_t, sqrt(abar_t) in diffusion: with noise prediction this is the paper's
    sqrt(1 - abar_t) <grad_a Q(s, x_t), eps>. x_t is clipped to the box, beyond which the critic knows nothing.
    Paper: Fang et al. 2025, Diffusion Actor-Critic.
    """

    reads: ClassVar[list[Any]] = ["observation", "action", DENOISED]
    needs = ("actor.denoise", "loss.td")

    def forward(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> tuple[Tensor, Tensor]:
        denoised = tensordict.get(DENOISED)

        def total(noisy: Tensor) -> tuple[Tensor, Tensor]:
            rho, scale = self.measure(pair_of(tensordict, agent.actor.scaling.to_box(noisy)), agent)
            return rho.sum(), scale

        with torch.no_grad():  # the gradient counts as a constant
            gradient, scale = torch.func.grad(total, has_aux=True)(denoised.get("noisy").clamp(-1, 1))
        return -(denoised.get("signal").unsqueeze(-1) * gradient * denoised.get("clean")).sum(-1), scale
