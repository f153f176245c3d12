"""Loss terms and their sum: the composite loss of behaviour-regularised, risk-aware offline reinforcement learning.

L_critic = sum of the critic's terms, L_actor = sum of the actor's, each with a weight that may move over time:
with td, bc and risk, L_critic = L_td and L_actor = w_bc L_bc - w_risk(step) rho(Z(s, a)), a ~ pi(.|s).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from tensordict import NestedKey, TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor, nn

from ramac.actors import Actor
from ramac.agent import Agent
from ramac.errors import InputError, at_least
from ramac.registry import GROUPS, label_of, losses
from ramac.spec import Spec

POLICY_ACTION: NestedKey = ("policy", "action")  # the trained actor's own action [B, A]
POLICY_LOG_PROB: NestedKey = ("policy", "log_prob")  # its log density [B], for actions in [-1, 1]
POLICY_TEACHER: NestedKey = ("policy", "teacher")  # a student's output, not clipped, minus its teacher's action [B, A]
DENOISED: NestedKey = "denoised"  # `ramac.actors.Denoised` of the logged action, field by field


class Term(TensorDictModuleBase):
    """One summand: its weight over time, the parameter group it trains, the keys it reads, and a loss per sample.

    step < `warmup`: the weight is 0
    next `ramp` steps: linear from 0 to `weight`
    next `decay` steps: from `weight` to `final` along `shape`
    then: `final`, or `weight` where there is none

    With a `budget` the weight is a Lagrange multiplier that starts at `weight` and keeps the mean loss at or below the
    budget. A term without a group has no loss: it shapes TD's target. A key `("policy", "x")` in `reads` asks the actor
    for `sample_with_x(observation) -> (action, x)`; `"step"` is the number of gradient steps so far, [B].
    """

    group: ClassVar[Literal["critic", "actor"] | None] = None
    reads: ClassVar[list[Any]] = []  # nested keys
    needs: tuple[str, ...] = ()  # methods of the parts, `actor.denoise`, and other terms, `loss.td`
    scaled: ClassVar[bool] = False  # whether `forward` also returns a scale [], by which the weight is divided
    uses_others: ClassVar[bool] = False  # whether it calls `others`; such a term is built after them
    next_log_prob = False  # whether `bonus` reads `log_prob` of the next action
    adds_bonus = False  # whether `bonus` is defined

    def __init__(
        self,
        spec: Spec | None = None,
        others: Sequence["Term"] = (),
        *,
        weight: float = 1.0,
        warmup: int = 0,
        ramp: int = 0,
        final: float | None = None,
        decay: int = 0,
        shape: Literal["linear", "cosine"] = "linear",
        budget: float | None = None,
    ) -> None:
        """`spec` is the task's; `others` are the terms that were built before this one."""
        super().__init__()
        at_least(0, weight=weight, warmup=warmup, ramp=ramp, decay=decay, **({} if final is None else {"final": final}))
        if (final is None) != (decay == 0):
            raise ValueError("final and decay go together: the weight moves to final over decay updates")
        self.in_keys, self.others = list(self.reads), list(others)
        self.weight, self.warmup, self.ramp = weight, warmup, ramp
        self.final, self.decay, self.shape = final, decay, shape
        self.budget = budget
        if budget is not None:
            if self.group is None:
                raise ValueError(f"it has no loss of its own to hold at budget={budget}; set its weight")
            if not weight > 0 or not math.isfinite(budget) or final is not None:
                given = f"budget={budget}, weight={weight}, final={final}"
                raise ValueError(f"a finite budget, a weight above 0 and no final go together; got {given}")
            self.log_multiplier = nn.Parameter(torch.tensor(math.log(weight)))

    def check(self, name: str, agent: Agent, terms: Mapping[str, "Term"]) -> None:
        """Check that the agent and the other terms offer everything in `needs`.

        Raises InputError that names the missing one.
        """
        for need in (*(f"actor.sample_with_{extra}" for extra in extras_of(self.in_keys)), *self.needs):
            part, method = need.split(".")
            if part == "loss":
                if method not in terms:
                    raise InputError(f"loss={name} needs {method} beside it: loss=[{','.join([method, *terms])}]")
            elif not getattr(getattr(agent, part), method, None):
                have = [entry for entry, kind in GROUPS[part].items() if getattr(kind, method, None)]
                given = label_of(GROUPS[part], type(getattr(agent, part)))
                others = f"{', '.join(have) or f'no {part}'} {'has' if len(have) < 2 else 'have'} it"
                reason = f"{part}={given} has none, {others}"
                raise InputError(f"loss={name} needs the {part}'s {method}; {reason}")
        for key, term in terms.items() if self.uses_others else ():
            shapes_target = term.adds_bonus or type(term).next_value is not Term.next_value
            if shapes_target and term not in self.others:
                raise InputError(f"loss={name} was built without {key}; build both with ramac.losses.build_terms")

    def schedule(self, step: Tensor) -> Tensor:
        """Weight at gradient step `step` [*b], of the multiplier where there is a budget; no gradient: [*b]."""
        share = ((step - self.warmup + 1) / max(self.ramp, 1)).clamp(0, 1)
        if self.budget is not None:
            return share * self.log_multiplier.detach().exp()
        if self.final is None:
            return share * self.weight
        done = ((step - self.warmup - self.ramp) / self.decay).clamp(0, 1)
        done = done if self.shape == "linear" else (1 - (math.pi * done).cos()) / 2
        return share * (self.weight + (self.final - self.weight) * done)

    def dual(self, loss: Tensor, step: Tensor) -> Tensor:
        """Loss [] of the Lagrange multiplier at gradient step `step` [], from the term's `loss` [B].

        Minimising it raises the multiplier while mean(loss) > budget and lowers it otherwise.
        """
        assert self.budget is not None
        active = (step >= self.warmup).to(loss.dtype)
        return -active * self.log_multiplier.exp() * (loss.detach().mean() - self.budget)

    def next_value(self, observation: Tensor) -> Tensor | None:
        """Return [B, 1] after observation [B, O] in TD's target, in place of the critic's; None: the critic's."""
        return None

    def bonus(self, pair: TensorDictBase, tensordict: TensorDictBase, agent: Agent) -> Tensor:
        """Added [B, 1] to the return of the next `observation` and `action` in `pair`, where `adds_bonus`."""
        raise NotImplementedError(f"{type(self).__name__} must define bonus(pair, tensordict, agent)")

    def forward(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> Tensor | tuple[Tensor, Tensor]:
        """Loss per sample [B], with its scale [] where `scaled`; `agent` is trained, `target` is its Polyak average."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(tensordict, agent, target)")


def build_terms(nodes: Mapping[str, Any], spec: Spec) -> dict[str, Term]:
    """Build every term of `nodes` (term -> name or configuration node), each with the terms that it uses.

    Raises InputError.
    """
    typed = {name: losses.typed(losses.plain(node)) for name, node in nodes.items()}
    built: dict[str, Term] = {}
    for name in sorted(typed, key=lambda name: losses[typed[name].name].uses_others):
        built[name] = losses.build(typed[name], spec, list(built.values()))
    return {name: built[name] for name in nodes}


def extras_of(keys: Iterable[Any]) -> list[str]:
    """What the keys ask of the actor beside its action: `log_prob` of `("policy", "log_prob")`, in order."""
    return [key[1] for key in dict.fromkeys(keys) if key[0] == "policy" and key[1] != "action"]


def pair_of(tensordict: TensorDictBase, action: Tensor | None = None) -> TensorDict:
    """`observation` of a batch with this action, or its logged one: what a critic reads."""
    action = tensordict.get("action") if action is None else action
    return TensorDict({"observation": tensordict.get("observation"), "action": action}, tensordict.batch_size)


def draw(actor: Actor, observation: Tensor, *extras: str) -> TensorDict:
    """`observation` [B, O] with the actor's `action` [B, A] and extras, such as `log_prob` [B].

    Each extra has its own draw; `action` is that of the first one.
    """
    result = TensorDict({"observation": observation}, observation.shape[:1])
    if not extras:
        actor(result)
    for extra in extras:
        unit, more = getattr(actor, f"sample_with_{extra}")(actor.scaling.observe(observation))
        result.set(extra, more)
        if extra == extras[0]:
            result.set("action", actor.scaling.to_box(unit))
    return result


class CompositeLoss(TensorDictModuleBase):
    """All terms over one agent: batch TensorDict [B] -> TensorDict [B] of `loss_<term>`, unweighted and per sample.

    `scale_<term>` [B], the same for all samples, stands beside the loss of a term that normalises. Only the trainer
    averages. An action that several terms ask for is sampled once. If terms ask for several extras of the actor, each
    extra has its own draw, and `("policy", "action")` is that of the first one in the order of the terms.
    """

    step: Tensor  # [] gradient steps so far

    def __init__(self, agent: Agent, target: Agent, terms: Mapping[str, Term]) -> None:
        super().__init__()
        device = agent.actor.scaling.centre.device
        self.agent, self.target = agent, target
        self.terms = nn.ModuleDict(terms).to(device)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64, device=device))
        for name, term in terms.items():
            term.check(name, agent, terms)
        for name in agent.actor.trained_by:
            if name not in terms and self.group("actor"):
                given = label_of(GROUPS["actor"], type(agent.actor))
                raise InputError(f"actor={given} needs {name} among the losses: loss=[{','.join([*terms, name])}]")
        read: list[Any] = [key for term in terms.values() for key in term.in_keys]
        self.in_keys = [key for key in dict.fromkeys(read) if key not in (DENOISED, "step") and key[0] != "policy"]
        scales = [f"scale_{name}" for name, term in terms.items() if term.scaled]
        self.out_keys = [*(f"loss_{name}" for name, term in terms.items() if term.group), *scales]

    def group(self, name: str) -> dict[str, Term]:
        """Terms that train the parameters of `name`, `"critic"` or `"actor"`."""
        return {key: term for key, term in self.terms.items() if isinstance(term, Term) and term.group == name}

    def parameters_of(self, group: str) -> list[nn.Parameter]:
        """What `group` trains: the actor or the critic, and networks of the group's own terms; no multipliers."""
        own = [p for term in self.group(group).values() for n, p in term.named_parameters() if n != "log_multiplier"]
        return [*getattr(self.agent, group).parameters(), *own]

    def multipliers(self) -> dict[str, nn.Parameter]:
        """The Lagrange multipliers' logarithms, by term."""
        terms = {**self.group("critic"), **self.group("actor")}
        return {name: term.log_multiplier for name, term in terms.items() if term.budget is not None}

    def forward(self, tensordict: TensorDictBase, names: Iterable[str] | None = None) -> TensorDict:
        terms = {**self.group("critic"), **self.group("actor")}
        terms = terms if names is None else {name: terms[name] for name in names}
        batch = tensordict.copy().set("step", self.step.expand(tensordict.batch_size))
        asked = [key for term in terms.values() for key in term.in_keys]
        if any(key[0] == "policy" for key in asked):
            batch.set("policy", draw(self.agent.actor, batch.get("observation"), *extras_of(asked)))
        if DENOISED in asked:
            state = self.agent.actor.scaling.observe(batch.get("observation"))
            denoised = self.agent.actor.denoise(state, self.agent.actor.scaling.to_unit(batch.get("action")))  # type: ignore[operator]
            batch.set(DENOISED, TensorDict(denoised._asdict(), tensordict.batch_size))
        found = {name: term(batch, self.agent, self.target) for name, term in terms.items()}
        result = {f"loss_{name}": found[name][0] if term.scaled else found[name] for name, term in terms.items()}
        scaled = [name for name, term in terms.items() if term.scaled]
        result |= {f"scale_{name}": found[name][1].expand(tensordict.batch_size) for name in scaled}
        return TensorDict(result, tensordict.batch_size)
