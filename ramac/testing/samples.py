"""Random states, pairs and batches, and what every loss per sample must satisfy."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from ramac.spec import Spec

BOX = Spec(3, 2, (-2.0, 0.0), (2.0, 0.5), (1.0, 0.0, -1.0), (2.0, 1.0, 0.5), 1.0, 4.0)  # no default value


def states(*shape: int) -> TensorDict:
    """Random observations [*shape]."""
    return TensorDict({"observation": torch.randn(*shape, BOX.obs_dim)}, shape)


def pairs(*shape: int) -> TensorDict:
    """Random observations and actions inside the box [*shape]."""
    low, high = torch.tensor(BOX.low), torch.tensor(BOX.high)
    return states(*shape).set("action", low + (high - low) * torch.rand(*shape, BOX.act_dim))


def seeded(function: Callable[[], Any]) -> Any:
    """What the function gives under a fixed seed; torch's generators are left as they were."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return function()


def sample_findings(name: str, loss: Callable[[TensorDict], Tensor], module: torch.nn.Module) -> Iterator[str]:
    """Findings about a loss per sample: shape, finite values, independence of other samples, gradients."""
    pair = pairs(8)
    told = f"{name} must give one loss per sample, [8] for a batch of 8"
    try:
        value = seeded(lambda: loss(pair))
    except RuntimeError as error:
        if "invalid for input of size 1" not in str(error):
            raise
        yield f"{told}, not one number; do not reduce"
        return
    if value.shape != (8,):
        yield f"{told}, not {list(value.shape)}; do not reduce"
        return
    if not value.isfinite().all():
        yield f"{name} is nan or infinite at initialisation"
    if value.grad_fn is None:
        yield f"{name} carries no gradient"
        return
    module.zero_grad()
    value.sum().backward()
    if not any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters()):
        yield f"{name} sends no gradient to any parameter"
    other = pairs(8)
    other[0] = pair[0]
    if not torch.allclose(seeded(lambda: loss(other))[0], value[0], rtol=1e-3, atol=1e-4):
        yield f"{name} of one sample changes with the other samples of the batch"
