"""Parts of a training state: the state of optimisers, of learning-rate schedules and of torch's generators."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

State = dict[str, Tensor]  # of one seed, by name


def optimiser_state(optimisers: Mapping[str, Optimizer], parameters: Mapping[str, Tensor]) -> tuple[State, State]:
    """The live tensors of the optimisers as `<optimiser>.<parameter>.<key>`.

    The first are shaped like their parameter, the others (step counts) are common to seeds that are trained together.
    """
    names = {id(parameter): name for name, parameter in parameters.items()}
    own, common = {}, {}
    for group, optimiser in optimisers.items():
        make_state(optimiser)
        for parameter in optimiser.param_groups[0]["params"]:
            for key, value in optimiser.state[parameter].items():
                found = own if value.shape == parameter.shape else common
                found[f"{group}.{names[id(parameter)]}.{key}"] = value
    return own, common


def make_state(optimiser: Optimizer) -> None:
    """Give parameters that were not stepped yet the state of their first step, all zero."""
    new = [p for p in optimiser.param_groups[0]["params"] if not optimiser.state[p]]
    twins = [torch.zeros_like(p, requires_grad=True) for p in new]
    if twins:
        fresh = type(optimiser)(twins, **optimiser.defaults)
        for twin in twins:
            twin.grad = torch.zeros_like(twin)
        fresh.step()
        for parameter, twin in zip(new, twins, strict=True):
            optimiser.state[parameter] = {key: torch.zeros_like(value) for key, value in fresh.state[twin].items()}


def set_rate(scheduler: LRScheduler, rate: float, steps: int) -> None:
    """Put a schedule of the learning rate to where it was after `steps` of its optimiser."""
    place = {"last_epoch": steps, "_step_count": steps + 1, "_last_lr": [rate]}
    scheduler.load_state_dict({**scheduler.state_dict(), **place})
    scheduler.optimizer.param_groups[0]["lr"] = rate
