"""Optimisers and learning-rate schedules as named tensors, for the training states."""

import copy
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

State = dict[str, Tensor]  # by name


def optimiser_state(optimisers: Mapping[str, Optimizer], parameters: Mapping[str, Tensor]) -> State:
    """The live tensors of the optimisers as `<optimiser>.<parameter>.<key>`."""
    names = {id(parameter): name for name, parameter in parameters.items()}
    found = {}
    for group, optimiser in optimisers.items():
        make_state(optimiser)
        for parameter in optimiser.param_groups[0]["params"]:
            for key, value in optimiser.state[parameter].items():
                found[f"{group}.{names[id(parameter)]}.{key}"] = value
    return found


def make_state(optimiser: Optimizer) -> None:
    """Give parameters that were not stepped yet the state that their first step would make, all zero."""
    new = [p for p in optimiser.param_groups[0]["params"] if not optimiser.state[p]]
    twins = [torch.zeros_like(p, requires_grad=True) for p in new]
    if twins:
        fresh = copy.copy(optimiser)
        fresh.state, fresh.param_groups = defaultdict(dict), [{**optimiser.param_groups[0], "params": twins}]
        for twin in twins:
            twin.grad = torch.zeros_like(twin)
        fresh.step()
        for parameter, twin in zip(new, twins, strict=True):
            optimiser.state[parameter] = {key: torch.zeros_like(value) for key, value in fresh.state[twin].items()}


def set_rate(scheduler: LRScheduler, rate: float, steps: int) -> None:
    """Set a learning-rate schedule as it was after `steps` of its optimiser."""
    place = {"last_epoch": steps, "_step_count": steps + 1, "_last_lr": [rate]}
    scheduler.load_state_dict({**scheduler.state_dict(), **place})
    group = scheduler.optimizer.param_groups[0]
    group["lr"] = group["lr"].fill_(rate) if isinstance(group["lr"], Tensor) else rate
