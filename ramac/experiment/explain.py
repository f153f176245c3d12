"""What each loss term does on the first batch, before anything is trained."""

from typing import Any

import torch
from torch.nn.utils import get_total_norm

from ramac.experiment.config import RunConfig
from ramac.experiment.run import Build, dry_build
from ramac.losses import Term
from ramac.training.cost import counted
from ramac.training.trainer import Trainer, weighted_sum


def rows_of(trainer: Trainer) -> list[dict[str, Any]]:
    """Per term: weight now and at full height, gradient norms at full height, network evaluations per update."""
    loss, batch = trainer.loss, trainer.batch()
    parts = {group: loss.parameters_of(group) for group in ("actor", "critic")}
    result = []
    for name, term in loss.terms.items():
        assert isinstance(term, Term)
        full = loss.step + term.warmup + term.ramp
        row: dict[str, Any] = {"term": name, "trains": term.group or "TD's target"}
        row |= {"weight": float(term.schedule(loss.step)), "full weight": float(term.schedule(full))}
        if term.group:
            with counted(loss, len(batch)) as count:
                scaled = weighted_sum({name: term}, loss(batch, [name]), full)
            torch.autograd.backward(scaled, inputs=parts[term.group])  # as the trainer does
            for part, parameters in parts.items():
                row[part] = float(get_total_norm(p.grad for p in parameters if p.grad is not None))
            loss.zero_grad()
            row["evaluations"] = dict(count)
        result.append(row)
    return result


def explain(config: RunConfig) -> tuple[Trainer, list[dict[str, Any]], dict[str, int]]:
    """The trainer that a run would build, a row per loss term, and network evaluations of a whole gradient step.

    Nothing is trained or written. Raises InputError.
    """
    dry_build(config)
    trainer = Build.of(config).trainer
    rows = rows_of(trainer)
    with counted(trainer.loss, trainer.batch_size) as together:
        for group in trainer.optimisers:
            trainer.loss(trainer.batch(), trainer.loss.group(group))
    return trainer, rows, dict(together)
