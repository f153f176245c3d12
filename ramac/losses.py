"""Loss terms and their sum: the composite loss of behaviour-regularised, risk-aware offline reinforcement learning.

L_critic = w_td L_td;  L_actor = w_bc L_bc + w_risk(step) L_risk;  L_risk = -rho(Z(s, a)), a ~ pi(.|s).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from tensordict import NestedKey, TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor

from ramac.agent import Agent
from ramac.registry import losses

POLICY_ACTION: NestedKey = ("policy", "action")
NEXT_POLICY_ACTION: NestedKey = ("next", "policy", "action")


class Term(TensorDictModuleBase):
    """One summand: its weight over time, the parameter group it trains, the keys it reads, and a loss per sample.

    The weight is 0 until `warmup` updates, then rises linearly over `ramp` updates (0: at once).
    """

    group: ClassVar[Literal["critic", "actor"]]
    reads: ClassVar[list[Any]]  # nested keys

    def __init__(self, *, weight: float = 1.0, warmup: int = 0, ramp: int = 0) -> None:
        super().__init__()
        for name, value in {"weight": weight, "warmup": warmup, "ramp": ramp}.items():
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be finite and not negative, got {value}")
        self.in_keys = list(self.reads)
        self.weight, self.warmup, self.ramp = weight, warmup, ramp

    def coefficient(self, step: Tensor, loss: Tensor) -> Tensor:
        """Weight [] at update `step` []; `loss` [B] is there for terms that normalise themselves."""
        return self.weight * ((step - self.warmup + 1) / max(self.ramp, 1)).clamp(0, 1)

    def forward(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> Tensor:
        """Loss per sample [B]; `agent` is trained, `target` is its moving average."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(tensordict, agent, target)")


@losses.register("td", number="weight")
class TD(Term):
    """Distributional temporal difference: regress Z(s, a) on r + gamma Z'(s', a'), a' from the averaged actor.

    `aggregation` makes one Z' of the ensemble: `quantile_min`, the lowest member level by level (RADAC, DSAC);
    `risk_min`, all of the member whose risk measure is lowest; `mean`, the members' mean level by level; `tqc`, all
    members' values together without the highest `drop` share. Terminal states do not bootstrap.
    Paper: Bellemare et al. 2017, A Distributional Perspective on Reinforcement Learning; tqc: Kuznetsov et al. 2020.
    """

    group = "critic"
    reads: ClassVar[list[Any]] = [
        "observation",
        "action",
        ("next", "observation"),
        ("next", "reward"),
        ("next", "terminated"),
        NEXT_POLICY_ACTION,
    ]

    def __init__(
        self,
        *,
        weight: float = 1.0,
        warmup: int = 0,
        ramp: int = 0,
        gamma: float = 0.99,  # RADAC
        aggregation: Literal["quantile_min", "risk_min", "mean", "tqc"] = "quantile_min",  # RADAC
        drop: float = 0.08,  # TQC: 2 of 25 quantiles; only `tqc` uses it
    ) -> None:
        super().__init__(weight=weight, warmup=warmup, ramp=ramp)
        if not 0 <= gamma <= 1:
            raise ValueError(f"gamma must be in [0, 1], got {gamma}")
        if not 0 <= drop < 1:
            raise ValueError(f"drop must be in [0, 1), got {drop}")
        self.gamma, self.aggregation, self.drop = gamma, aggregation, drop
        if gamma == 0:  # a bandit: nothing follows, so no action is sampled for it
            self.in_keys = [key for key in self.reads if key != NEXT_POLICY_ACTION]

    def target(self, tensordict: TensorDictBase, target: Agent) -> Tensor:
        """Equally likely returns r + gamma (1 - terminated) Z'(s', a'): [B, M]."""
        reward = tensordict.get(("next", "reward"))
        if self.gamma == 0:
            return reward
        pair = {"observation": tensordict.get(("next", "observation")), "action": tensordict.get(NEXT_POLICY_ACTION)}
        value = target.critic(TensorDict(pair, tensordict.batch_size)).get("value")
        after = self.aggregate(value, target)
        return reward + self.gamma * (~tensordict.get(("next", "terminated"))) * after

    def aggregate(self, value: Tensor, target: Agent) -> Tensor:
        """Equally likely returns of each member [B, E, N] -> of the ensemble [B, M]; M = N, for `tqc` less than E N."""
        if self.aggregation == "quantile_min":
            return value.amin(-2)
        if self.aggregation == "mean":
            return value.mean(-2)
        if self.aggregation == "risk_min":
            lowest = target.risk.of_samples(target.critic.scaling.to_standard(value)).argmin(-1)
            return value.gather(-2, lowest[..., None, None].expand(*lowest.shape, 1, value.shape[-1])).squeeze(-2)
        pooled = value.flatten(-2).sort(-1).values
        return pooled[..., : max(1, pooled.shape[-1] - round(self.drop * pooled.shape[-1]))]

    def forward(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> Tensor:
        with torch.no_grad():
            returns = self.target(tensordict, target)
        return agent.critic.regress(tensordict, returns)


@losses.register("bc", number="weight")
class BC(Term):
    """Behaviour cloning with the actor's own loss: noise prediction, flow matching, -log pi or squared error.

    Paper: Wang et al. 2023, Diffusion-QL; Fukazawa et al. 2026, RAMAC.
    """

    group = "actor"
    reads: ClassVar[list[Any]] = ["observation", "action"]

    def forward(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> Tensor:
        return agent.actor.bc(tensordict)


@losses.register("risk", number="weight")
class Risk(Term):
    """Minus the risk measure of Z(s, a) at the actor's own action, differentiated through the generative path.

    Each ensemble member is measured, the lowest counts. `normalise` divides the weight by the detached mean |rho|, so
    that one weight serves returns of any size. Paper: Fukazawa et al. 2026, RAMAC; normalisation: TD3+BC.
    """

    group = "actor"
    reads: ClassVar[list[Any]] = ["observation", POLICY_ACTION]

    def __init__(
        self,
        *,
        weight: float = 0.2,  # with `normalise`; measured on the bandit (docs/bandit.md)
        warmup: int = 500,  # the critic knows nothing yet; RADAC: up to 300k of 2M updates
        ramp: int = 500,
        normalise: bool = True,  # TD3+BC, FQL
    ) -> None:
        super().__init__(weight=weight, warmup=warmup, ramp=ramp)
        self.normalise = normalise

    def coefficient(self, step: Tensor, loss: Tensor) -> Tensor:
        weight = super().coefficient(step, loss)
        return weight / loss.detach().abs().mean().clamp_min(1e-6) if self.normalise else weight

    def forward(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> Tensor:
        pair = {"observation": tensordict.get("observation"), "action": tensordict.get(POLICY_ACTION)}
        return -agent.critic.risk(TensorDict(pair, tensordict.batch_size), agent.risk).amin(-1)


def sampled(agent: Agent, observation: Tensor) -> Tensor:
    """Action [B, A] of the agent's actor for observation [B, O]."""
    return agent.actor(TensorDict({"observation": observation}, observation.shape[:-1])).get("action")


class CompositeLoss(TensorDictModuleBase):
    """All terms over one agent: batch TensorDict [B] -> TensorDict [B] of `loss_<term>`, unweighted and per sample.

    An action that several terms ask for is sampled once. Only the trainer reduces, with `coefficient`.
    """

    def __init__(self, agent: Agent, target: Agent, terms: Mapping[str, Term]) -> None:
        super().__init__()
        self.agent, self.target = agent, target
        self.terms = torch.nn.ModuleDict(terms)
        made_here = (POLICY_ACTION, NEXT_POLICY_ACTION)
        read: list[Any] = [key for term in terms.values() for key in term.in_keys]
        self.in_keys = [key for key in dict.fromkeys(read) if key not in made_here]
        self.out_keys = [f"loss_{name}" for name in terms]

    def group(self, name: str) -> dict[str, Term]:
        """Terms that train the parameters of `name`, `"critic"` or `"actor"`."""
        return {key: term for key, term in self.terms.items() if isinstance(term, Term) and term.group == name}

    def forward(self, tensordict: TensorDictBase, group: str | None = None) -> TensorDict:
        terms = {**self.group("critic"), **self.group("actor")} if group is None else self.group(group)
        batch = tensordict.copy()
        asked = {key for term in terms.values() for key in term.in_keys}
        if NEXT_POLICY_ACTION in asked:
            with torch.no_grad():
                batch.set(NEXT_POLICY_ACTION, sampled(self.target, batch.get(("next", "observation"))))
        if POLICY_ACTION in asked:
            batch.set(POLICY_ACTION, sampled(self.agent, batch.get("observation")))
        result = {f"loss_{name}": term(batch, self.agent, self.target) for name, term in terms.items()}
        return TensorDict(result, tensordict.batch_size)
