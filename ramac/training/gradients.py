"""What each loss term sends to the parameters on one batch."""

import warnings

import torch
from tensordict import TensorDict
from torch import Tensor
from torch.nn.utils import get_total_norm

from ramac.errors import InputError
from ramac.losses import Term
from ramac.training.trainer import Trainer

ROWS = 32  # transitions that are enough to see whether a term sends a gradient


def gradients(trainer: Trainer, name: str, batch: TensorDict, step: Tensor) -> list[Tensor | None]:
    """Gradients of one term, at its weight of gradient step `step` [], in the parameters that its group trains.

    None where the loss does not depend on a parameter.
    """
    loss, term = trainer.loss, trainer.loss.terms[name]
    assert isinstance(term, Term) and term.group is not None
    losses, reports = loss.sample_losses(batch, [name])
    total = loss.weighted_sum({name: losses[name].mean()}, reports, step)
    parameters = loss.parameters_of(term.group)
    if not total.requires_grad:
        return [None] * len(parameters)
    return list(torch.autograd.grad(total, parameters, allow_unused=True))


def norm(found: list[Tensor | None]) -> float:
    """Norm of all gradients together."""
    return float(get_total_norm(value for value in found if value is not None))


def refuse_idle(trainer: Trainer) -> None:
    """Refuse a term whose gradient reaches no parameter of its group; warn where it is zero on rows of all the data.

    Torch's global generators and the critic's buffers are left as they were. Raises InputError.
    """
    batch = trainer.data[torch.linspace(0, len(trainer.data) - 1, ROWS).long().unique()]
    last = trainer.step + trainer.steps - 1
    buffers = {name: value.clone() for name, value in trainer.agent.named_buffers()}
    devices = [trainer.step.device] if trainer.step.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        for group in trainer.optimisers:
            for name, term in trainer.loss.group(group).items():
                if not (term.schedule.weight > 0 or term.schedule.final):  # switched off
                    continue
                found = gradients(trainer, name, batch, last)
                if all(value is None for value in found):
                    raise InputError(f"loss={name} sends no gradient to any parameter of the {group}: it cannot act")
                if norm(found) == 0:
                    text = f"loss={name} sends a zero gradient to the {group} on {len(batch)} rows of the data"
                    warnings.warn(f"{text}: it may never act", stacklevel=2)
    for name, value in trainer.agent.named_buffers():
        value.copy_(buffers[name])
