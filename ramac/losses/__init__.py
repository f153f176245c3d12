"""Loss terms and their sum: the composite loss of behaviour-regularised, risk-aware offline reinforcement learning.

L_critic = sum of the critic's terms, L_actor = sum of the actor's, each with a weight that may move over time:
with td, bc and risk, L_critic = L_td and L_actor = w_bc L_bc - w_risk(step) rho(Z(s, a)), a ~ pi(.|s).
"""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from tensordict import NestedKey, TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor, nn

from ramac.actors import Actor
from ramac.agent import Agent
from ramac.errors import InputError
from ramac.losses.term import Term, extras_of
from ramac.registry import GROUPS, label_of, losses
from ramac.spec import Spec

POLICY_ACTION: NestedKey = ("policy", "action")  # the trained actor's own action [B, A]
POLICY_LOG_PROB: NestedKey = ("policy", "log_prob")  # its log density [B], for actions in [-1, 1]
POLICY_TEACHER: NestedKey = ("policy", "teacher")  # a student's output, not clipped, minus its teacher's action [B, A]
DENOISED: NestedKey = "denoised"  # `ramac.actors.Denoised` of the logged action, field by field


def build_terms(nodes: Mapping[str, Any], spec: Spec) -> dict[str, Term]:
    """Build every term of `nodes` (term -> name or configuration node), each with the terms that it uses.

    Raises InputError.
    """
    typed = {name: losses.typed(losses.plain(node)) for name, node in nodes.items()}
    built: dict[str, Term] = {}
    for name in sorted(typed, key=lambda name: losses[typed[name].name].uses_others):
        built[name] = losses.build(typed[name], spec, list(built.values()))
    return {name: built[name] for name in nodes}


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

    `<name>_<term>` [B], the same for all samples, is a scalar that a term reports beside its loss, such as `scale`.
    Only the trainer averages. An action that several terms ask for is sampled once. If terms ask for several extras of
    the actor, each extra has its own draw, and `("policy", "action")` is that of the first one in the order of the
    terms. `steps`: gradient steps of the run, of which warm-ups may be fractions.
    """

    step: Tensor  # [] gradient steps so far

    def __init__(self, agent: Agent, target: Agent, terms: Mapping[str, Term], steps: int | None = None) -> None:
        super().__init__()
        device = agent.actor.scaling.centre.device
        self.agent, self.target = agent, target
        self.terms = nn.ModuleDict(terms).to(device)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64, device=device))
        for name, term in terms.items():
            term.check(name, agent, terms)
            if steps is not None:
                try:
                    if text := term.schedule.of_run(steps):
                        warnings.warn(f"loss={name}: {text}", stacklevel=2)
                except ValueError as error:
                    raise InputError(f"loss={name}: {error}") from error
        for name in agent.actor.trained_by:
            if name not in terms and self.group("actor"):
                given = label_of(GROUPS["actor"], type(agent.actor))
                raise InputError(f"actor={given} needs {name} among the losses: loss=[{','.join([*terms, name])}]")
        read: list[Any] = [key for term in terms.values() for key in term.in_keys]
        self.in_keys = [key for key in dict.fromkeys(read) if key not in (DENOISED, "step") and key[0] != "policy"]
        reports = [f"{report}_{name}" for name, term in terms.items() for report in term.reports]
        self.out_keys = [*(f"loss_{name}" for name, term in terms.items() if term.group), *reports]

    def group(self, name: str) -> dict[str, Term]:
        """Terms that train the parameters of `name`, `"critic"` or `"actor"`."""
        return {key: term for key, term in self.terms.items() if isinstance(term, Term) and term.group == name}

    def parameters_of(self, group: str) -> list[nn.Parameter]:
        """What `group` trains: the actor or the critic, and networks of the group's own terms; no multipliers."""
        own = [(name, p) for term in self.group(group).values() for name, p in term.named_parameters()]
        own = [p for name, p in own if not name.startswith("multiplier.")]
        return [*getattr(self.agent, group).parameters(), *own]

    def multipliers(self) -> dict[str, nn.Parameter]:
        """The Lagrange multipliers' logarithms, by term."""
        terms = {**self.group("critic"), **self.group("actor")}
        return {name: term.multiplier.logarithm for name, term in terms.items() if term.multiplier is not None}

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
        result = {}
        for name, term in terms.items():
            loss, *scalars = found if isinstance(found := term(batch, self.agent, self.target), tuple) else (found,)
            result[f"loss_{name}"] = loss
            for report, value in zip(term.reports, scalars, strict=True):
                result[f"{report}_{name}"] = value.expand(tensordict.batch_size)
        return TensorDict(result, tensordict.batch_size)
