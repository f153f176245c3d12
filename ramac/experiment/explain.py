"""What each loss term does over a run and on the first batch, before anything is trained."""

from typing import Any

from ramac.experiment.config import RunConfig
from ramac.experiment.run import Build, dry_build
from ramac.losses import Term
from ramac.training.cost import counted
from ramac.training.gradients import gradients, norm
from ramac.training.trainer import Trainer

PARTS = (0, 25, 50, 75, 100)  # percent of the run at which weights are shown


def rows_of(trainer: Trainer) -> list[dict[str, Any]]:
    """Per term: weights over the run, gradient norm at the last weight, network evaluations per update."""
    loss, batch = trainer.loss, trainer.batch()
    last = loss.step + trainer.steps - 1
    result = []
    for name, term in loss.terms.items():
        assert isinstance(term, Term)
        steps = [loss.step + round(part / 100 * (trainer.steps - 1)) for part in PARTS]
        row: dict[str, Any] = {"term": name, "trains": term.group or "TD's target"}
        row["weights"] = [float(term.weight_at(step)) for step in steps]
        if term.group:
            with counted(loss, len(batch)) as count:
                found = gradients(trainer, name, batch, last)
            row |= {"gradient": norm(found), "evaluations": dict(count)}
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
            trainer.loss.sample_losses(trainer.batch(), trainer.loss.group(group))
    return trainer, rows, dict(together)
