"""`ramac ... --explain`: what each loss term does on the first batch, before anything is trained."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from torch import nn

from ramac.actors import Actor
from ramac.losses import CompositeLoss, Term
from ramac.run import assemble, device_of, whole_number
from ramac.tasks import configured
from ramac.trainer import Trainer


@contextmanager
def counted(loss: CompositeLoss, rows: int) -> Iterator[Counter[str]]:
    """Evaluations of networks per transition while the block runs: `actor`, `critic`, each with or without gradient.

    A network is a module with parameters that no other such module calls; a critic's is its trunk.
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
        # an actor itself, or one inside it, is asked by other methods too: its networks are counted, not it
        for module in (m for m in agent.actor.modules() if not isinstance(m, Actor)):
            handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave("actor"))]
        trunk = agent.critic.trunk
        handles += [trunk.register_forward_pre_hook(enter), trunk.register_forward_hook(leave("critic"))]
    try:
        yield count
    finally:
        for handle in handles:
            handle.remove()


def norm(value: torch.Tensor, parameters: list[nn.Parameter]) -> float:
    """Norm of the gradient of a scalar with respect to these parameters."""
    gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return float(sum((g.square().sum() for g in gradients if g is not None), torch.zeros(())).sqrt())


def rows_of(trainer: Trainer) -> list[dict[str, Any]]:
    """Per term: weight now and at full height, gradient norms at full height, network evaluations per update."""
    loss, batch = trainer.loss, trainer.batch()
    parts = {"actor": list(trainer.agent.actor.parameters()), "critic": list(trainer.agent.critic.parameters())}
    result = []
    for name, term in loss.terms.items():
        assert isinstance(term, Term)
        full = loss.step + term.warmup + term.ramp
        row: dict[str, Any] = {"term": name, "trains": term.group or "TD's target"}
        row["weight"] = float(term.schedule(loss.step))
        row["full weight"] = float(term.schedule(full))
        if term.group:
            with counted(loss, len(batch)) as count:
                value = loss(batch, [name])[f"loss_{name}"].mean()
                scaled = term.coefficient(full) * value
            row |= {part: norm(scaled, parameters) if part == term.group else 0.0 for part, parameters in parts.items()}
            row["evaluations"] = dict(count)
        result.append(row)
    return result


def command(config: DictConfig) -> None:
    """Build everything as a run would, and print the table; nothing is trained or written. Raises InputError."""
    whole_number(config, "seed", 0)
    task = configured(config)
    data = task.dataset()
    trainer = assemble(config, data.spec, data.transitions, device_of(config.device))
    rows = rows_of(trainer)
    with counted(trainer.loss, trainer.batch_size) as together:
        for group in trainer.optimisers:
            trainer.loss(trainer.batch(), trainer.loss.group(group))
    table = Table(title=f"loss terms on the first batch of {trainer.batch_size}", title_justify="left")
    for column in ("term", "trains", "weight: now -> full", "gradient to actor", "gradient to critic", "evaluations"):
        table.add_column(column, overflow="fold")
    for row in rows:
        weights = f"{row['weight']:.3g} -> {row['full weight']:.3g}"
        found = [f"{row[part]:.3g}" if part in row else "-" for part in ("actor", "critic")]
        table.add_row(row["term"], row["trains"], weights, *found, described(row.get("evaluations", {})))
    console = Console()
    console.print(table)
    console.print("Gradient norms are those the optimiser gets at full weight, before clipping.")
    every = f"; the actor's every {trainer.delay} updates" if trainer.delay > 1 else ""
    console.print(f"Evaluations per update, shared samples counted once: {described(dict(together))}{every}.")


def described(count: dict[str, int]) -> str:
    """`actor 5, critic (no gradient) 1`."""
    return ", ".join(f"{name} {number}" for name, number in sorted(count.items())) or "none"
