"""`ramac ... --explain`: what each loss term does on the first batch, before anything is trained."""

from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from tensordict import TensorDict
from torch import nn

from ramac.experiment.run import assemble, whole_number
from ramac.losses import Term
from ramac.spec import Spec
from ramac.system.runtime import device_of
from ramac.tasks import configured
from ramac.training.cost import counted
from ramac.training.trainer import Trainer, weighted_sum


def norm(parameters: list[nn.Parameter]) -> float:
    """Norm of the gradients that these parameters hold."""
    return float(sum((p.grad.square().sum() for p in parameters if p.grad is not None), torch.zeros(())).sqrt())


def rows_of(trainer: Trainer) -> list[dict[str, Any]]:
    """Per term: weight now and at full height, gradient norms at full height, network evaluations per update."""
    loss, batch = trainer.loss, trainer.batch()
    parts = {group: loss.parameters_of(group) for group in ("actor", "critic")}
    result = []
    for name, term in loss.terms.items():
        assert isinstance(term, Term)
        full = loss.step + term.warmup + term.ramp
        row: dict[str, Any] = {"term": name, "trains": term.group or "TD's target"}
        row["weight"] = float(term.schedule(loss.step))
        row["full weight"] = float(term.schedule(full))
        if term.group:
            with counted(loss, len(batch)) as count:
                scaled = weighted_sum({name: term}, loss(batch, [name]), full)
            torch.autograd.backward(scaled, inputs=parts[term.group])  # as the trainer does
            row |= {part: norm(parameters) for part, parameters in parts.items()}
            for parameter in parts[term.group]:
                parameter.grad = None
            row["evaluations"] = dict(count)
        result.append(row)
    return result


def command(config: DictConfig) -> None:
    """Build everything as a run would, and print the table; nothing is trained or written. Raises InputError."""
    whole_number(config, "seed", 0)
    task = configured(config)
    # as in a run: what does not fit together must not wait for data
    assemble(config, Spec.unit(1, 1), TensorDict(batch_size=[1]), torch.device("cpu"))
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
