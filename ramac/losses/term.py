"""One summand of the composite loss, and what a term may add to TD's target."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor

from ramac.agent import Agent
from ramac.errors import InputError
from ramac.losses.schedule import Multiplier, Schedule
from ramac.registry import GROUPS, label_of
from ramac.spec import Spec

Output = Tensor | tuple[Tensor, ...]  # loss [B], or that and a scalar [] for each name in `reports`


class Term(TensorDictModuleBase):
    """One summand: the parameter group it trains, the keys it reads, a loss per sample, and a weight over time.

    The weight follows `ramac.losses.schedule.Schedule`. With a `budget` it is a Lagrange multiplier that starts at
    `weight` and keeps the mean loss at or below the budget. A term without a group shapes TD's target by one of the
    methods of `SetsNextValue` and `AddsBonus`. A key `("policy", "x")` in `reads` asks the actor for
    `sample_with_x(observation) -> (action, x)`; `"step"` is the number of gradient steps so far, [B].

    Args:
        weight: Factor of the mean loss, after warmup and ramp; with a budget, the multiplier's start.
        warmup: Gradient steps with weight 0: below 1 a fraction of the run, from 1 a count.
        ramp: Gradient steps from 0 to `weight`, counted likewise.
        final: Weight after the decay; null: no decay.
        decay: Gradient steps from `weight` to `final`, counted likewise.
        shape: Curve of the decay.
        budget: Upper bound of the mean loss, kept by a Lagrange multiplier; null: a fixed weight.
    """

    group: ClassVar[Literal["critic", "actor"] | None] = None
    reads: ClassVar[list[Any]] = []  # nested keys
    needs: tuple[str, ...] = ()  # methods of the parts, `actor.denoise`, and other terms, `loss.td`
    # scalars beside the loss, for metrics.csv; the weight is divided by one called `scale`
    reports: ClassVar[tuple[str, ...]] = ()
    uses_others: ClassVar[bool] = False  # whether it calls `others`; such a term is built after them

    def __init__(
        self,
        spec: Spec | None = None,
        others: Sequence["Term"] = (),
        *,
        weight: float = 1.0,
        warmup: float = 0.0,
        ramp: float = 0.0,
        final: float | None = None,
        decay: float = 0.0,
        shape: Literal["linear", "cosine"] = "linear",
        budget: float | None = None,
    ) -> None:
        """`spec` is the task's; `others` are the terms that were built before this one."""
        super().__init__()
        self.schedule = Schedule(weight=weight, warmup=warmup, ramp=ramp, final=final, decay=decay, shape=shape)
        self.in_keys, self.out_keys, self.others = list(self.reads), [], list(others)
        self.multiplier = None
        if budget is not None:
            if self.group is None:
                raise ValueError(f"it has no loss of its own to hold at budget={budget}; set its weight")
            if final is not None:
                raise ValueError(f"budget={budget} and final={final} exclude each other")
            self.multiplier = Multiplier(weight, budget)

    def check(self, name: str, agent: Agent, terms: Mapping[str, "Term"]) -> None:
        """Check the group, and that the agent and the other terms offer everything in `needs`.

        Raises InputError that names the wrong or missing one.
        """
        if self.group not in ("critic", "actor", None):
            raise InputError(f"loss={name} has group {self.group!r}; choose 'critic' or 'actor'")
        if self.group is None and not shapes_target(self):
            raise InputError(f"loss={name} has no group, 'critic' or 'actor', and does not shape TD's target either")
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
            if shapes_target(term) and term not in self.others:
                raise InputError(f"loss={name} was built without {key}; build both with ramac.losses.build_terms")

    def weight_at(self, step: Tensor) -> Tensor:
        """Weight at gradient step `step` [*b], of the multiplier where there is a budget; no gradient: [*b]."""
        if self.multiplier is None:
            return self.schedule(step)
        return self.schedule.share(step) * self.multiplier.value

    def warning(self, reports: Mapping[str, float]) -> str | None:
        """What a user should know after the training, by the last values of what the term reports; one sentence."""
        return None

    def forward(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> Output:
        """Loss per sample [B], and the scalars in `reports`; `agent` is trained, `target` is its Polyak average."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(tensordict, agent, target)")


class SetsNextValue(Protocol):
    """A term whose value of a state takes the place of the critic's in TD's target."""

    def next_value(self, observation: Tensor) -> Tensor:
        """V(s) of observation [B, O] in standardised returns: [B, 1]."""
        ...


class AddsBonus(Protocol):
    """A term that adds to the return of the next state in TD's target, where its attribute `adds_bonus` is true."""

    adds_bonus: bool
    next_log_prob: bool  # whether `bonus` reads `log_prob` of the next action

    def bonus(self, pair: TensorDictBase, tensordict: TensorDictBase, agent: Agent) -> Tensor:
        """Added [B, 1], in standard deviations of the returns, for the next `observation` and `action` in `pair`."""
        ...


def adds_bonus(term: Term) -> bool:
    """Whether the term adds to TD's target."""
    return getattr(term, "adds_bonus", False)


def sets_next_value(term: Term) -> bool:
    """Whether the term's value takes the place of the critic's in TD's target."""
    return hasattr(term, "next_value")


def shapes_target(term: Term) -> bool:
    """Whether the term changes TD's target."""
    return adds_bonus(term) or sets_next_value(term)


def extras_of(keys: Iterable[Any]) -> list[str]:
    """What the keys ask of the actor beside its action: `log_prob` of `("policy", "log_prob")`, in order."""
    return [key[1] for key in dict.fromkeys(keys) if key[0] == "policy" and key[1] != "action"]
