"""What each loss term does on the first batch, before anything is trained."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ramac.experiment.config import RunConfig
from ramac.experiment.run import build_trainer, dry_build
from ramac.losses import Term
from ramac.system.runtime import device_of
from ramac.training.cost import counted
from ramac.training.trainer import Trainer, weighted_sum


@dataclass
class Explanation:
    """A row per loss term, and network evaluations of a whole gradient step."""

    terms: list[dict[str, Any]]
    together: dict[str, int]
    batch_size: int
    delay: int


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


def explain(config: RunConfig) -> Explanation:
    """Build everything as a run would; nothing is trained or written. Raises InputError."""
    task, _ = dry_build(config)
    data = task.dataset()
    trainer = build_trainer(config, data.spec, data.transitions, device_of(config.device))
    rows = rows_of(trainer)
    with counted(trainer.loss, trainer.batch_size) as together:
        for group in trainer.optimisers:
            trainer.loss(trainer.batch(), trainer.loss.group(group))
    return Explanation(rows, dict(together), trainer.batch_size, trainer.delay)
