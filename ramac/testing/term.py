"""Findings about a loss term."""

from collections.abc import Iterator
from typing import Any

import torch
from tensordict import TensorDict

from ramac.agent import Agent
from ramac.composite import CompositeLoss
from ramac.errors import InputError
from ramac.losses import DENOISED, Term, build_terms
from ramac.losses.term import adds_bonus, extras_of, sets_next_value
from ramac.registry import actors, critics, losses
from ramac.testing.samples import BOX, pairs, seeded

STEPS = 100  # of the run that the term is tried in
GIVEN = ("step", DENOISED)  # keys that the composite loss adds to a batch


def term_findings(entry: str) -> Iterator[str]:
    """Group, keys, loss and effect on the target of a loss term."""
    kind = losses[losses.parse(entry)[0]]
    if kind.group not in ("critic", "actor", None):
        yield f"group is {kind.group!r}; it must be 'critic' or 'actor', the parameters that the term trains"
        return
    batch = transitions()
    known = [*batch.keys(True, True), *GIVEN]
    for key in kind.reads:
        if key not in known and key[0] != "policy":
            names = ", ".join(str(name) for name in known)
            yield f"reads has the key {key!r}, which no batch has; there are {names}, and ('policy', 'x')"
            return
    others = [need.removeprefix("loss.") for need in kind.needs if need.startswith("loss.")]
    built = build_terms({name: name for name in dict.fromkeys([*others, entry])}, BOX)
    term = built[entry]
    agent = Agent.build({**fitting(term), "risk": "cvar0.1"}, BOX)
    composite = CompositeLoss(agent, built, steps=STEPS, target=agent)
    batch.set("step", torch.full((8,), STEPS - 1))
    yield from (loss_findings(composite, entry, batch) if term.group else ())
    yield from target_findings(term, agent, batch)


def transitions() -> TensorDict:
    """A batch [8] with all keys of a log; every second transition terminates."""
    after = pairs(8).update({"reward": torch.randn(8, 1), "terminated": torch.arange(8).unsqueeze(-1) % 2 == 0})
    return pairs(8).set("next", after.set("followed", torch.ones(8, 1, dtype=torch.bool)))


def fitting(term: Term) -> dict[str, str]:
    """Actor and critic that have what the term needs: each the default one, or else the first that fits."""
    needs = {
        part: [need.partition(".")[2] for need in term.needs if need.startswith(part)] for part in ("actor", "critic")
    }
    needs["actor"] += [f"sample_with_{extra}" for extra in extras_of(term.in_keys)]
    chosen = {}
    for part, registry, default in (("actor", actors, "flow"), ("critic", critics, "iqn")):
        names = [default, *(name for name in registry if name != default)]
        fits = [name for name in names if all(getattr(registry[name], need, None) for need in needs[part])]
        chosen[part] = (fits or [default])[0]
    return chosen


def loss_findings(composite: CompositeLoss, entry: str, batch: TensorDict) -> Iterator[str]:
    """Findings about the loss per sample, what is reported beside it, and its gradient."""
    term: Any = composite.terms[entry]
    try:
        found = seeded(lambda: composite.sample_losses(batch, [entry])[0])
    except KeyError as error:
        yield f"it reads {error} of the batch, which is not in reads: {term.in_keys}"
        return
    except InputError as error:
        yield f"forward must give one loss per sample, [8] for a batch of 8; do not reduce ({error})"
        return
    loss = found[entry]
    if not loss.isfinite().all():
        yield "its loss is nan or infinite at initialisation"
    parameters = composite.parameters_of(term.group)
    gradients = torch.autograd.grad(loss.sum(), parameters, allow_unused=True) if loss.requires_grad else ()
    if not any(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients):
        yield f"its loss sends no gradient to the parameters of the {term.group}, its group"


def target_findings(term: Any, agent: Agent, batch: TensorDict) -> Iterator[str]:
    """Findings about what a term does to TD's target."""
    if sets_next_value(term) and (shape := list(term.next_value(batch["next", "observation"]).shape)) != [8, 1]:
        yield f"next_value must give [8, 1] for 8 observations, not {shape}"
    if adds_bonus(term):
        next_pair = pairs(8).set("log_prob", torch.zeros(8))
        if (shape := list(term.bonus(next_pair, batch, agent).shape)) != [8, 1]:
            yield f"bonus must give [8, 1] for 8 pairs, not {shape}"
