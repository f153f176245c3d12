"""Cost of a gradient step, counted in network evaluations per transition."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from ramac.actors import Actor
from ramac.composite import CompositeLoss
from ramac.training.trainer import Trainer


@contextmanager
def counted(loss: CompositeLoss, rows: int) -> Iterator[Counter[str]]:
    """Network evaluations per transition inside the block: `actor`, `critic`, each with or without gradient.

    A network is a module with parameters that no other such module calls; a critic's is its trunk. Networks of loss
    terms count as `value`.
    """
    count, depth = Counter[str](), 0

    def enter(*_: Any) -> None:
        nonlocal depth
        depth += 1

    def leave(name: str, module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        nonlocal depth
        depth -= 1
        if depth == 0:
            suffix = " (no gradient)" * (not torch.is_grad_enabled())
            count[name + suffix] += round(output.shape[-2] / rows)  # [rows, A], [E, rows, F]

    watched = [("value", m) for term in loss.terms.values() for m in term.children() if list(m.parameters())]
    for agent in (loss.agent, loss.target):
        # actors, also nested ones, have methods beside forward: their networks are counted instead
        watched += [("actor", module) for module in agent.actor.modules() if not isinstance(module, Actor)]
        watched.append(("critic", agent.critic.trunk))
    with ExitStack() as hooks:
        for name, module in watched:
            hooks.enter_context(module.register_forward_pre_hook(enter))
            hooks.enter_context(module.register_forward_hook(partial(leave, name)))
        yield count


def evaluations_per_update(trainer: Trainer) -> dict[str, float]:
    """Network evaluations per transition and gradient step, the actor's divided by `delay`. Draws random numbers."""
    batch = trainer.data[: trainer.batch_size]
    total: Counter[str] = Counter()
    for group, share in (("critic", 1.0), ("actor", 1 / trainer.delay)):
        if terms := trainer.loss.group(group):
            with counted(trainer.loss, len(batch)) as count:
                trainer.loss.sample_losses(batch, terms)
            total.update({name: share * number for name, number in count.items()})  # type: ignore[arg-type]
    return dict(sorted(total.items()))
