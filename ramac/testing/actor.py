"""Findings about an actor."""

import copy
from collections.abc import Iterator

import torch

from ramac.actors import Actor
from ramac.registry import actors, losses
from ramac.spec import Spec
from ramac.testing.samples import BOX, sample_findings, seeded, states

SPREAD, SHIFT = 0.05, 0.2  # of actions, whose box is 2 wide


def actor_findings(entry: str) -> Iterator[str]:
    """Shapes, box, gradients, unit of cloning and copying of an actor."""
    actor: Actor = actors.build(entry, BOX)
    if not any(True for _ in actor.parameters()):
        yield "it has no parameters to train"
    for shape in ((), (5,), (2, 3)):
        action = actor(states(*shape))["action"]
        if action.shape != (*shape, BOX.act_dim) or action.dtype != torch.float32:
            found = f"{action.dtype} {list(action.shape)}"
            yield f"action for a batch {list(shape)} must be float32 {[*shape, BOX.act_dim]}, not {found}"
            return
        if not action.isfinite().all():
            yield "actions are nan or infinite at initialisation"
    if not (actor.sample(torch.randn(256, BOX.obs_dim)).abs() <= 1 + 1e-5).all():  # `forward` clamps them
        yield "actions leave the box: sample() must stay inside [-1, 1]"
    action = actor(states(256))["action"]
    if action.grad_fn is None:
        yield "actions carry no gradient: sample() must be reparameterised"
    else:
        actor.zero_grad()
        action.sum().backward()
        if not any(p.grad is not None and p.grad.abs().sum() > 0 for p in actor.parameters()):
            yield "sample() sends no gradient to any parameter"
    yield from sample_findings("bc", actor.bc, actor)
    yield from optional_findings(actor)
    yield from unit_findings(entry)
    state = states(4)
    twin = copy.deepcopy(actor)
    if not torch.equal(seeded(lambda: actor(state.copy())["action"]), seeded(lambda: twin(state.copy())["action"])):
        yield "a deep copy acts differently under the same seed: keep all state in parameters and buffers"


def optional_findings(actor: Actor) -> Iterator[str]:
    """Findings about the methods that only some terms ask for: `sample_with_x` where one reads `("policy", "x")`."""
    observation, inside = torch.randn(8, BOX.obs_dim), 2 * torch.rand(8, BOX.act_dim) - 1
    if actor.mode(observation).shape != (8, BOX.act_dim):
        yield f"mode must give actions [8, {BOX.act_dim}], not {list(actor.mode(observation).shape)}"
    shapes = {"log_prob": (8,), "teacher": (8, BOX.act_dim)}
    for name in sorted({key[1] for term in losses.values() for key in term.reads if key[0] == "policy"} - {"action"}):
        if method := getattr(actor, f"sample_with_{name}", None):
            action, more = method(observation)
            second = shapes.get(name, (8, *more.shape[1:]))
            if action.shape != (8, BOX.act_dim) or more.shape != second or not more.isfinite().all():
                yield f"sample_with_{name} must give actions [8, {BOX.act_dim}] and a finite {list(second)}"
            if not action.requires_grad or not more.requires_grad:
                yield f"sample_with_{name}: gradients must reach the action and what comes with it"
    if denoise := getattr(actor, "denoise", None):
        found = denoise(observation, inside)
        wanted = ((8,), (8, BOX.act_dim), (8,), (8, BOX.act_dim))
        if tuple(tuple(part.shape) for part in found) != wanted:
            yield f"denoise must give loss, noisy, signal and clean of {wanted}"
        elif not torch.equal(
            seeded(lambda: denoise(observation, inside).loss), seeded(lambda: actor.clone(observation, inside))
        ):
            yield "denoise must give the loss of clone"


def unit_findings(entry: str) -> Iterator[str]:
    """Findings about the unit of the cloning loss, which is that of a squared error per dimension.

    The actor learns N(0.3, SPREAD^2); then the loss of actions that are SHIFT away grows by about SHIFT^2. A negative
    log-likelihood would grow by SHIFT^2 / (2 SPREAD^2) = 200 SHIFT^2, a sum over dimensions with their number.
    """
    one, four = (seeded(lambda count=count: grown(entry, count)) for count in (1, 4))
    if not 0.1 < four < 50:
        yield f"bc grows by {four:.3g} times a squared error of the action; its unit must be that of a squared error"
    if not four < 3 * one:
        yield f"bc of 4 dimensions is {four / one:.2g} times that of 1: it must be a mean over dimensions, not a sum"


def grown(entry: str, act_dim: int) -> float:
    """By how many times SHIFT^2 the cloning loss of a trained actor grows when actions are SHIFT away."""
    actor: Actor = actors.build(entry, Spec.unit(3, act_dim))
    optimiser = torch.optim.Adam(actor.parameters(), 5e-3)
    for _ in range(80):
        optimiser.zero_grad()
        actor.clone(torch.randn(64, 3), 0.3 + SPREAD * torch.randn(64, act_dim)).mean().backward()
        optimiser.step()
    state, action = torch.randn(2048, 3), 0.3 + SPREAD * torch.randn(2048, act_dim)
    with torch.no_grad():
        near, far = (seeded(lambda away=away: actor.clone(state, action + away)).mean() for away in (0.0, SHIFT))
    return float(far - near) / SHIFT**2
