"""Loss terms and their sum: the composite loss of behaviour-regularised, risk-aware offline reinforcement learning.

L_critic = sum of the critic's terms, L_actor = sum of the actor's, each with a weight that may move over time:
with td, bc and risk, L_critic = L_td and L_actor = w_bc L_bc - w_risk(step) rho(Z(s, a)), a ~ pi(.|s).
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

import torch
from tensordict import NestedKey, TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor, nn

from ramac.actors import Actor
from ramac.agent import Agent
from ramac.errors import InputError, at_least
from ramac.registry import GROUPS, label_of

POLICY_ACTION: NestedKey = ("policy", "action")  # the trained actor's own action [B, A]
POLICY_LOG_PROB: NestedKey = ("policy", "log_prob")  # its log density [B], for actions in [-1, 1]
POLICY_TEACHER: NestedKey = ("policy", "teacher")  # a student's output, not clipped, minus its teacher's action [B, A]
DENOISED: NestedKey = "denoised"  # `ramac.actors.Denoised` of the logged action, field by field
EXTRAS = {POLICY_LOG_PROB: "log_prob", POLICY_TEACHER: "teacher"}


class Term(TensorDictModuleBase):
    """One summand: its weight over time, the parameter group it trains, the keys it reads, and a loss per sample.

    The weight is 0 until `warmup` updates, rises linearly over `ramp` updates (0: at once) to `weight`, and then moves
    to `final` over `decay` updates along `shape`. With a `budget` the weight is a Lagrange multiplier that starts at
    `weight` and keeps the mean loss at or below the budget. A term without a group has no loss: it shapes TD's target.
    """

    group: ClassVar[Literal["critic", "actor"] | None] = None
    reads: ClassVar[list[Any]] = []  # nested keys
    needs: tuple[str, ...] = ()  # methods of the parts, `actor.denoise`, and other terms, `loss.td`
    next_log_prob = False  # whether `bonus` reads `log_prob` of the next action
    adds_bonus = False  # whether `bonus` gives something
    log_multiplier: nn.Parameter
    step: Tensor  # [] updates so far, the trainer's own

    def __init__(
        self,
        *,
        weight: float = 1.0,
        warmup: int = 0,
        ramp: int = 0,
        final: float | None = None,
        decay: int = 0,
        shape: Literal["linear", "cosine"] = "linear",
        budget: float | None = None,
    ) -> None:
        super().__init__()
        at_least(0, weight=weight, warmup=warmup, ramp=ramp, decay=decay, **({} if final is None else {"final": final}))
        if (final is None) != (decay == 0):
            raise ValueError("final and decay go together: the weight moves to final over decay updates")
        self.in_keys = list(self.reads)
        self.weight, self.warmup, self.ramp = weight, warmup, ramp
        self.final, self.decay, self.shape = final, decay, shape
        self.budget = budget

    def bind(self, name: str, agent: Agent, terms: Mapping[str, "Term"], step: Tensor) -> None:
        """Meet the parts and the other terms before training. Raises InputError when one it needs is not there."""
        for need in self.needs:
            part, method = need.split(".")
            if part == "loss":
                if method not in terms:
                    raise InputError(f"loss={name} needs {method} beside it: loss=[{','.join([method, *terms])}]")
            elif not getattr(getattr(agent, part), method, None):
                have = [entry for entry, kind in GROUPS[part].items() if getattr(kind, method, None)]
                given = label_of(GROUPS[part], type(getattr(agent, part)))
                reason = f"{part}={given} has none, {', '.join(have)} {'has' if len(have) == 1 else 'have'} it"
                raise InputError(f"loss={name} needs the {part}'s {method}; {reason}")
        self.step = step
        if self.budget is not None:
            if self.group is None:
                raise InputError(f"loss={name} has no loss of its own to hold at budget={self.budget}; set its weight")
            if not self.weight > 0 or not math.isfinite(self.budget) or self.final is not None:
                given = f"budget={self.budget}, weight={self.weight}, final={self.final}"
                raise InputError(
                    f"loss={name}: a finite budget, a weight above 0 and no final go together; got {given}"
                )
            self.log_multiplier = nn.Parameter(torch.tensor(math.log(self.weight), device=step.device))

    def schedule(self, step: Tensor) -> Tensor:
        """Weight [] at update `step` [], of the multiplier where there is a budget; no gradient."""
        share = ((step - self.warmup + 1) / max(self.ramp, 1)).clamp(0, 1)
        if self.budget is not None:
            return share * self.log_multiplier.detach().exp()
        if self.final is None:
            return share * self.weight
        done = ((step - self.warmup - self.ramp) / self.decay).clamp(0, 1)
        done = done if self.shape == "linear" else (1 - (math.pi * done).cos()) / 2
        return share * (self.weight + (self.final - self.weight) * done)

    def coefficient(self, step: Tensor) -> Tensor:
        """What the mean loss is multiplied by at update `step` []; for terms that normalise themselves."""
        return self.schedule(step)

    def dual(self, loss: Tensor) -> Tensor:
        """Loss [] of the multiplier: it rises while the mean of `loss` [B] is above the budget, and falls below it."""
        assert self.budget is not None
        active = (self.step >= self.warmup).to(loss.dtype)
        return -active * self.log_multiplier.exp() * (loss.detach().mean() - self.budget)

    def next_value(self, observation: Tensor) -> Tensor | None:
        """Return [B, 1] after observation [B, O] in TD's target, in place of the critic's; None: the critic's."""
        return None

    def bonus(self, pair: TensorDictBase, tensordict: TensorDictBase, agent: Agent) -> Tensor:
        """What is added [B, 1] to the return of the next `observation` and `action` in `pair`, where `adds_bonus`."""
        raise NotImplementedError(f"{type(self).__name__} must define bonus(pair, tensordict, agent)")

    def forward(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> Tensor:
        """Loss per sample [B]; `agent` is trained, `target` is its moving average."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(tensordict, agent, target)")


def pair_of(tensordict: TensorDictBase, action: Tensor | None = None) -> TensorDict:
    """`observation` of a batch with this action, or its logged one: what a critic reads."""
    action = tensordict.get("action") if action is None else action
    return TensorDict({"observation": tensordict.get("observation"), "action": action}, tensordict.batch_size)


def draw(actor: Actor, observation: Tensor, extra: str | None = None) -> TensorDict:
    """`observation` [B, O] with the actor's `action` [B, A], and `log_prob` [B] or `teacher` [B, A] where asked for."""
    result = TensorDict({"observation": observation}, observation.shape[:1])
    if extra is None:
        actor(result)
        return result
    unit, more = getattr(actor, f"sample_with_{extra}")(actor.scaling.observe(observation))
    return result.set("action", actor.scaling.to_box(unit)).set(extra, more)


class CompositeLoss(TensorDictModuleBase):
    """All terms over one agent: batch TensorDict [B] -> TensorDict [B] of `loss_<term>`, unweighted and per sample.

    An action that several terms ask for is sampled once. Only the trainer reduces, with `coefficient`.
    """

    step: Tensor

    def __init__(self, agent: Agent, target: Agent, terms: Mapping[str, Term]) -> None:
        super().__init__()
        self.agent, self.target = agent, target
        self.terms = nn.ModuleDict(terms)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64, device=agent.actor.scaling.centre.device))
        for name, term in terms.items():
            term.bind(name, agent, terms, self.step)
        for name in agent.actor.trained_by:
            if name not in terms and self.group("actor"):
                given = label_of(GROUPS["actor"], type(agent.actor))
                raise InputError(f"actor={given} needs {name} among the losses: loss=[{','.join([*terms, name])}]")
        read: list[Any] = [key for term in terms.values() for key in term.in_keys]
        made_here = (POLICY_ACTION, DENOISED, *EXTRAS)
        self.in_keys = [key for key in dict.fromkeys(read) if key not in made_here]
        self.out_keys = [f"loss_{name}" for name, term in terms.items() if term.group]

    def group(self, name: str) -> dict[str, Term]:
        """Terms that train the parameters of `name`, `"critic"` or `"actor"`."""
        return {key: term for key, term in self.terms.items() if isinstance(term, Term) and term.group == name}

    def parameters_of(self, group: str) -> list[nn.Parameter]:
        """What `group` trains: the actor or the critic, and networks of the group's own terms; no multipliers."""
        own = [p for term in self.group(group).values() for n, p in term.named_parameters() if n != "log_multiplier"]
        return [*getattr(self.agent, group).parameters(), *own]

    def multipliers(self) -> dict[str, nn.Parameter]:
        """The Lagrange multipliers' logarithms, by term."""
        terms = {name: term for name, term in self.terms.items() if isinstance(term, Term)}
        return {name: term.log_multiplier for name, term in terms.items() if term.budget is not None}

    def forward(self, tensordict: TensorDictBase, names: Iterable[str] | None = None) -> TensorDict:
        terms = {**self.group("critic"), **self.group("actor")}
        terms = terms if names is None else {name: terms[name] for name in names}
        batch = tensordict.copy()
        asked = {key for term in terms.values() for key in term.in_keys}
        if asked & {POLICY_ACTION, *EXTRAS}:
            extra = next((name for key, name in EXTRAS.items() if key in asked), None)
            batch.set("policy", draw(self.agent.actor, batch.get("observation"), extra))
        if DENOISED in asked:
            state = self.agent.actor.scaling.observe(batch.get("observation"))
            denoised = self.agent.actor.denoise(state, self.agent.actor.scaling.to_unit(batch.get("action")))  # type: ignore[operator]
            batch.set(DENOISED, TensorDict(denoised._asdict(), tensordict.batch_size))
        result = {f"loss_{name}": term(batch, self.agent, self.target) for name, term in terms.items()}
        return TensorDict(result, tensordict.batch_size)


def build_terms(nodes, spec):
    from ramac.registry import losses

    return {name: losses.build(node) for name, node in nodes.items()}
