"""Samplers of diffusion models: the steps of a diffusers scheduler as constants, and the chain that takes them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Step(NamedTuple):
    """One step x <- sample x + estimate a + previous a' + noise xi.

    `a` is the estimate of the clean value at x, `a'` that of the step before, and `xi` a standard normal draw.
    """

    sample: float
    estimate: float
    previous: float
    noise: float


def steps_of(scheduler: Any) -> list[Step]:
    """The steps at the scheduler's timesteps, read off its own `step`, which must take estimates of the clean value.

    A step is linear, so unit vectors give its coefficients: x is the first, the estimates are in turn the second and
    the third. The fourth is nowhere, so only the noise reaches it.
    """
    unit = torch.eye(4, dtype=torch.float64, device="cpu").unsqueeze(-1)
    found = list[Step]()
    for index, t in enumerate(scheduler.timesteps):
        generator = torch.Generator().manual_seed(0)
        xi = torch.randn(4, 1, dtype=torch.float64, device="cpu", generator=generator)
        new, old = 1 + index % 2, 2 - index % 2
        after = scheduler.step(unit[new], t, unit[0], generator=generator.manual_seed(0), return_dict=False)[0]
        noise = (after[3] / xi[3]).item()
        plain = (after - noise * xi).flatten().tolist()
        weight = [value if abs(value) > 1e-12 else 0.0 for value in plain]  # the difference leaves a rounding
        found.append(Step(weight[0], weight[new], weight[old], noise))
    return found


def take(steps: Sequence[Step], start: Tensor, estimate: Callable[[int, Tensor], Tensor]) -> Tensor:
    """From `start` [B, A] through all steps, with `estimate(step's index, x [B, A])` -> clean value [B, A]."""
    x = before = start
    for index, step in enumerate(steps):
        clean = estimate(index, x)
        x = step.estimate * clean + step.sample * x
        if step.previous:
            x = x + step.previous * before
        if step.noise:
            x = x + step.noise * torch.randn_like(x)
        before = clean
    return x
