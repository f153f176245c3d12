"""What `trainer.precision` gains, and what it changes in losses and gradients."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.contenders import Row
from benchmarks.options import Settings
from benchmarks.timing import alternate, spread
from benchmarks.updates import IMPLICIT, LEVELS, data, levels, plain_contender, ramac_trainer
from ramac.system.runtime import matmul_precision
from ramac.training.trainer import Trainer

PRECISIONS = ("highest", "high", "medium")


def losses_and_gradients(trainer: Trainer, precision: str) -> tuple[Tensor, Tensor]:
    """The losses [terms], and both groups' gradients as one vector, on the trainer's batch 0 with random numbers 0."""
    trainer.generator.manual_seed(0)
    torch.manual_seed(0)
    batch, losses, gradients = trainer.batch(), [], []
    with matmul_precision(precision):
        for group, optimiser in trainer.optimisers.items():
            total, entries = trainer.loss.group_loss(batch, group)
            found = torch.autograd.grad(total, optimiser.param_groups[0]["params"])
            losses += [value for name, value in entries.items() if name.endswith("_loss")]
            gradients += [part.flatten() for part in found]
    return torch.stack(losses), torch.cat(gradients)


def deviation(found: Tensor, exact: Tensor) -> float:
    """|found - exact| / |exact|."""
    return float((found - exact).norm() / exact.norm())


def at(precision: str, work: Callable[[], Any]) -> Callable[[], Any]:
    """The same work with its products at this precision."""

    def wrapped() -> None:
        with matmul_precision(precision):
            work()

    return wrapped


def measure(settings: Settings) -> dict[str, list[Row]]:
    """Table `precision`: a row per recipe, number of levels and precision.

    The plain implementation has 32 levels and the same precision.
    """
    logged, rows = data(device=settings.device), []
    for recipe in IMPLICIT:
        plain = plain_contender(recipe, logged, {}).update
        work = {f"plain {name}": at(name, plain) for name in PRECISIONS}
        trainers = {count: ramac_trainer([f"recipe={recipe}", *levels(count)], logged) for count in (LEVELS, 8)}
        for count, trainer in trainers.items():
            for name in PRECISIONS:
                work[f"{count} {name}"] = at(name, lambda trainer=trainer: trainer.update(trainer.batch()))
        times = alternate(work, 3 if settings.short else 15)
        for count, trainer in trainers.items():
            exact = losses_and_gradients(trainer, "highest")
            for name in PRECISIONS:
                took = times[f"{count} {name}"]
                row = {"recipe": recipe, "levels": count, "precision": name, **spread("ms", 1e3 * took)}
                row |= spread("gain", times[f"{count} highest"] / took)
                row |= spread("ratio", times[f"plain {name}"] / took)
                loss, gradient = map(deviation, losses_and_gradients(trainer, name), exact)
                rows.append({**row, "loss_deviation": loss, "gradient_deviation": gradient})
    return {"precision": rows}
