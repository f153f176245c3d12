"""Cost of a gradient step, counted in network evaluations per transition."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ramac.actors import Actor
from ramac.losses import CompositeLoss
from ramac.training.trainer import Trainer


@contextmanager
def counted(loss: CompositeLoss, rows: int) -> Iterator[Counter[str]]:
    """Network evaluations per transition inside the block: `actor`, `critic`, each with or without gradient.

    A network is a module with parameters that no other such module calls; a critic's is its trunk. Networks of loss
    terms count as `value`.
    """
    count: Counter[str] = Counter()
    handles: list[Any] = []
    depth = [0]

    def enter(*_: Any) -> None:
        depth[0] += 1

    def leave(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
            depth[0] -= 1
            if depth[0] == 0:
                suffix = " (no gradient)" * (not torch.is_grad_enabled())
                count[name + suffix] += round(output.shape[-2] / rows)  # [rows, A], [E, rows, F]

        return hook

    for agent in (loss.agent, loss.target):
        # actors, also nested ones, have methods beside forward: their networks are counted instead
        for module in (m for m in agent.actor.modules() if not isinstance(m, Actor)):
            handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave("actor"))]
        trunk = agent.critic.trunk
        handles += [trunk.register_forward_pre_hook(enter), trunk.register_forward_hook(leave("critic"))]
    for term in loss.terms.values():
        for module in (m for m in term.children() if any(True for _ in m.parameters())):
            handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave("value"))]
    try:
        yield count
    finally:
        for handle in handles:
            handle.remove()


def evaluations_per_update(trainer: Trainer) -> dict[str, float]:
    """Network evaluations per transition and gradient step, the actor's divided by `delay`. Draws random numbers."""
    batch = trainer.data[: trainer.batch_size]
    total: Counter[str] = Counter()
    for group, share in (("critic", 1.0), ("actor", 1 / trainer.delay)):
        if terms := trainer.loss.group(group):
            with counted(trainer.loss, len(batch)) as count:
                trainer.loss(batch, terms)
            total.update({name: share * number for name, number in count.items()})  # type: ignore[arg-type]
    return dict(sorted(total.items()))
