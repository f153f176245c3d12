"""Temporal-difference learning of the return distribution, and the terms that shape its target."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, cast

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from ramac.agent import Agent
from ramac.errors import InputError, at_least, at_most
from ramac.losses import Term, draw
from ramac.losses.term import AddsBonus, SetsNextValue, adds_bonus, sets_next_value
from ramac.nets import mlp
from ramac.registry import losses
from ramac.risk import RiskMeasure
from ramac.spec import Scaling, Spec

DROP = 0.08  # of the highest returns by `tqc` (TQC: 2 of 25 quantiles)
SMOOTHING_CLIP = 0.5  # TD3


@losses.register("td", suffix="weight")
class TD(Term):
    """Distributional temporal difference: regress Z(s, a) on r + gamma Z'(s', a'), a' from the actor.

    `aggregation` makes one Z' of the ensemble: `quantile_min`, the lowest member level by level (RADAC, DSAC);
    `risk_min`, all of the member whose risk measure is lowest; `mean`, the members' mean level by level; `tqc`, all
    members' values together without the highest `drop` share; `own`, no aggregation: each member has its own target and
    shares no more than the data and the next actions with the others. Terminal states do not bootstrap.
    Paper: Bellemare et al. 2017, A Distributional Perspective on Reinforcement Learning; tqc: Kuznetsov et al. 2020;
    own: Agarwal et al. 2020, An Optimistic Perspective on Offline RL; Ghasemipour et al. 2022, Why So Pessimistic?;
    smoothing: Fujimoto et al. 2018, TD3; candidates: Kumar et al. 2020, CQL, max_target_backup.

    Args:
        gamma: Discount per step; default as in RADAC. A run takes it from its task.
        aggregation: How one Z' is made of the ensemble, as above; default as in RADAC.
        drop: Share of the highest values that `tqc` drops; TQC: 2 of 25 quantiles.
        next_actor: Who draws a': the target network (`average`: RADAC, Diffusion-QL, TD3) or the trained actor
            (`online`: SAC, FQL).
        smoothing: Standard deviation of noise on a', for actions in [-1, 1]; TD3 has 0.2.
        smoothing_clip: Largest noise, likewise; default as in TD3.
        candidates: Actions drawn; that of the highest risk measure counts. Diffusion-QL and CQL have 10, on antmaze.
    """

    group = "critic"
    uses_others = True
    reads: ClassVar[list[Any]] = ["observation", "action"]
    reads += [("next", key) for key in ("observation", "reward", "terminated")]

    def __init__(
        self,
        spec: Spec | None = None,
        others: Sequence[Term] = (),
        *,
        gamma: float = 0.99,
        aggregation: Literal["quantile_min", "risk_min", "mean", "tqc", "own"] = "quantile_min",
        drop: float = DROP,
        next_actor: Literal["average", "online"] = "average",
        smoothing: float = 0.0,
        smoothing_clip: float = SMOOTHING_CLIP,
        candidates: int = 1,
        **schedule: Any,
    ) -> None:
        super().__init__(spec, others, **schedule)
        if not 0 <= gamma <= 1:
            raise ValueError(f"gamma must be in [0, 1], got {gamma}")
        if not 0 <= drop < 1:
            raise ValueError(f"drop must be in [0, 1), got {drop}")
        if drop != DROP and aggregation != "tqc":
            raise ValueError(f"drop={drop} is for aggregation=tqc; aggregation={aggregation} drops nothing")
        if smoothing_clip != SMOOTHING_CLIP and not smoothing:
            raise ValueError(f"smoothing_clip={smoothing_clip} has no effect without smoothing")
        at_least(0, smoothing=smoothing, smoothing_clip=smoothing_clip)
        at_least(1, candidates=candidates)
        at_most(1000, candidates=candidates)
        self.gamma, self.aggregation, self.drop = gamma, aggregation, drop
        self.next_actor, self.candidates = next_actor, candidates
        self.smoothing, self.smoothing_clip = smoothing, smoothing_clip
        self.sources = cast("list[SetsNextValue]", [term for term in self.others if sets_next_value(term)])
        self.bonuses = cast("list[AddsBonus]", [term for term in self.others if adds_bonus(term)])

    def check(self, name: str, agent: Agent, terms: Mapping[str, Term]) -> None:
        super().check(name, agent, terms)
        if self.aggregation == "own" and agent.critic.ensemble == 1:
            text = f"loss={name}: aggregation=own is of several members"
            raise InputError(f"{text}, and the critic has one; leave it out")
        sources = [key for key, term in terms.items() if sets_next_value(term)]
        if len(sources) > 1:
            raise InputError(f"loss: one source of the target at most, got {' and '.join(sources)}")
        unused = [key for key, term in terms.items() if adds_bonus(term)]
        inert = {"smoothing": self.smoothing > 0, "candidates": self.candidates > 1}
        inert |= {"aggregation": self.aggregation != "quantile_min", "next_actor": self.next_actor != "average"}
        unused += [f"td.{setting}" for setting, changed in inert.items() if changed]
        if sources and unused:
            text = f"loss={sources[0]} replaces the next action in the TD target, so {unused[0]} has no effect"
            raise InputError(f"{text}; remove one of the two")

    def next_pair(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> TensorDict:
        """`candidates` next actions per transition, [B C] with `observation`, `action` and, if needed, `log_prob`."""
        actor = (target if self.next_actor == "average" else agent).actor
        observation = tensordict.get(("next", "observation")).repeat_interleave(self.candidates, 0)
        extras = ["log_prob"] * any(getattr(term, "next_log_prob", False) for term in self.bonuses)
        pair = draw(actor, observation, *extras)
        if self.smoothing:
            unit = actor.scaling.to_unit(pair.get("action"))
            noise = (self.smoothing * torch.randn_like(unit)).clamp(-self.smoothing_clip, self.smoothing_clip)
            pair.set("action", actor.scaling.to_box((unit + noise).clamp(-1, 1)))
        return pair

    def next_returns(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> Tensor:
        """Equally weighted samples of standardised Z'(s', a'), before discounting: [B, M], with `own` [E, B, M]."""
        if self.sources:
            return self.sources[0].next_value(tensordict.get(("next", "observation")))
        pair = self.next_pair(tensordict, agent, target)
        bonus = torch.zeros_like(pair.get("action")[:, :1])
        for term in self.bonuses:
            bonus = bonus + term.bonus(pair, tensordict, agent)
        if self.candidates > 1:
            each = pair.unflatten(0, (-1, self.candidates))
            rho = target.critic.standard_risk(each, target.risk).amin(-1)  # [B, C], as when acting
            best = (rho + bonus.view_as(rho)).argmax(-1)
            best = best + self.candidates * torch.arange(len(best), device=best.device)
            pair, bonus = pair[best], bonus[best]
        value = target.critic.standard_values(pair)[1].movedim(0, 1)  # [B, E, N]
        return self.aggregate(value, target.critic.of_rows(target.risk, pair)) + bonus

    def returns(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> Tensor:
        """Equally weighted samples of standardised r + gamma (1 - terminated) Z'(s', a'): [B, M], or [E, B, M]."""
        going = ~tensordict.get(("next", "terminated"))
        reward = target.critic.scaling.standard_reward(tensordict.get(("next", "reward")), self.gamma, going)
        if self.gamma == 0:  # bandit: skip sampling the next action
            return reward
        return reward + self.gamma * going * self.next_returns(tensordict, agent, target)

    def aggregate(self, value: Tensor, risk: RiskMeasure) -> Tensor:
        """Equally weighted returns per member [B, E, N] -> of the ensemble [B, M], or each one's own [E, B, N].

        M = N, for `tqc` less than E N. `risk` is that of the rows.
        """
        if self.aggregation == "own":
            return value.movedim(-2, 0)
        if self.aggregation == "quantile_min":
            return value.amin(-2)
        if self.aggregation == "mean":
            return value.mean(-2)
        if self.aggregation == "risk_min":
            lowest = risk.of_samples(value.movedim(-2, 0)).argmin(0)
            return value.gather(-2, lowest[..., None, None].expand(*lowest.shape, 1, value.shape[-1])).squeeze(-2)
        pooled = value.flatten(-2).sort(-1).values
        return pooled[..., : max(1, pooled.shape[-1] - round(self.drop * pooled.shape[-1]))]

    def forward(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> Tensor:
        with torch.no_grad():
            returns = self.returns(tensordict, agent, target)
        return agent.critic.standard_regress(tensordict, returns)


@losses.register("critic_bc", suffix="weight")
class CriticBC(Term):
    """Behaviour penalty inside TD's target: Z'(s', a') - weight sd |a' - a'_data|^2, actions in [-1, 1].

    `sd` is the standard deviation of the logged returns. Where the log ends after s' there is no penalty.
    Paper: Tarasov et al. 2023, Revisiting the Minimalist Approach to Offline RL (ReBRAC).

    Args:
        weight: Penalty per squared distance, in standard deviations; ReBRAC has 0 to 0.5 by task, in reward units.
    """

    reads: ClassVar[list[Any]] = [("next", "action"), ("next", "followed")]
    needs = ("loss.td",)
    adds_bonus = True
    next_log_prob = False

    def __init__(self, *, weight: float = 0.01, **schedule: Any) -> None:
        super().__init__(weight=weight, **schedule)

    def bonus(self, pair: TensorDictBase, tensordict: TensorDictBase, agent: Agent) -> Tensor:
        scaling, repeats = agent.critic.scaling, len(pair) // len(tensordict)
        logged, followed = (tensordict.get(key).repeat_interleave(repeats, 0) for key in self.reads)
        distance = (scaling.to_unit(pair.get("action")) - scaling.to_unit(logged)).square().sum(-1, keepdim=True)
        return -self.weight_at(tensordict.get("step")[0]) * followed * distance


@losses.register("iql", suffix="expectile")
class IQL(Term):
    """Value V(s) = expectile of rho(Z'(s, a)) over logged actions; TD's target becomes r + gamma V(s').

    The loss is |t - 1{rho < V}| (rho - V)^2. An expectile above 1/2 is a maximum over actions the data know; no action
    of the actor enters the target. The target is a number, so of Z only the randomness of one step is left. `awr` takes
    V as its baseline.
    Paper: Kostrikov et al. 2022, Offline Reinforcement Learning with Implicit Q-Learning.

    Args:
        expectile: Level t; default as in IQL on locomotion.
        hidden: Widths of the hidden layers of V; default as in IQL.
    """

    group = "critic"
    reads: ClassVar[list[Any]] = ["observation", "action"]
    needs = ("loss.td",)

    def __init__(
        self,
        spec: Spec,
        *,
        expectile: float = 0.7,
        hidden: tuple[int, ...] = (256, 256),
        **schedule: Any,
    ) -> None:
        super().__init__(**schedule)
        if not 0 < expectile < 1:
            raise ValueError(f"expectile must be inside (0, 1), got {expectile}")
        at_least(1, **{"hidden": min(hidden)} if hidden else {})
        self.expectile, self.scaling = expectile, Scaling(spec)
        self.net = mlp(spec.obs_dim, hidden, 1)

    def check(self, name: str, agent: Agent, terms: Mapping[str, Term]) -> None:
        super().check(name, agent, terms)
        if agent.risk.whole is not agent.risk:  # a target of utilities would apply h once more in each step
            text = f"loss={name} backs rho up from state to state, which horizon=episode does at the end alone"
            raise InputError(f"{text}; leave out {name}, or risk.horizon=episode")

    def next_value(self, observation: Tensor) -> Tensor:
        return self.net(self.scaling.observe(observation))

    def forward(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> Tensor:
        with torch.no_grad():
            rho = target.critic.standard_risk(tensordict, agent.risk).amin(-1)
        difference = rho - self.next_value(tensordict.get("observation")).squeeze(-1)
        return (self.expectile - (difference.detach() < 0).to(rho.dtype)).abs() * difference.square()
