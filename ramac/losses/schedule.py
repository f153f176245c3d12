"""The weight of a loss term over a run: a schedule, or a Lagrange multiplier."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from ramac.errors import at_least

BEYOND, FAR = 0.2, 10.0  # a budget that is exceeded by this share with a multiplier grown this much is told
ALONE = 1000.0  # with a multiplier grown this much no other term counts any more: any excess is told


class Schedule:
    """Weight at each gradient step.

    step < `warmup`: 0
    next `ramp` steps: linear from 0 to `weight`
    next `decay` steps: from `weight` to `final` along `shape`
    then: `final`, or `weight` where there is none

    `warmup`, `ramp` and `decay` below 1 are fractions of the run's gradient steps, from 1 they count steps.
    """

    def __init__(
        self,
        *,
        weight: float,
        warmup: float,
        ramp: float,
        final: float | None,
        decay: float,
        shape: Literal["linear", "cosine"],
    ) -> None:
        at_least(0, weight=weight, warmup=warmup, ramp=ramp, decay=decay, **({} if final is None else {"final": final}))
        if (final is None) != (decay == 0):
            raise ValueError(f"decay={decay:g} and final={final} go together: set both or neither")
        for name, given in (("warmup", warmup), ("ramp", ramp), ("decay", decay)):
            if given >= 1 and given != round(given):
                raise ValueError(f"{name} must be below 1 (a fraction of the run) or a whole number, got {given}")
        self.weight, self.final, self.shape = weight, final, shape
        self.given = {"warmup": warmup, "ramp": ramp, "decay": decay}
        self.steps: int | None = None  # gradient steps of the run

    def of_run(self, steps: int) -> str | None:
        """Count the fractions in a run of `steps` gradient steps; returns a warning about what cannot act fully in it.

        Raises ValueError for what cannot act in it at all, and for a schedule that another run counts already.
        """
        if self.steps not in (None, steps):
            raise ValueError(f"the term was built for a run of {self.steps} gradient steps, not {steps}; build another")
        self.steps = steps
        acts = self.weight > 0 or bool(self.final)
        if acts and self.warmup >= steps:
            text = f"warmup={self.warmup} reaches beyond the run of {steps} gradient steps: the term would never act"
            raise ValueError(f"{text}; a number below 1 is a fraction of the run")
        left = steps - self.warmup
        if self.final is not None and self.ramp >= left:
            text = f"final={self.final} has no effect: warmup and ramp ({self.warmup + self.ramp} steps)"
            raise ValueError(f"{text} must be shorter than the run of {steps}")
        if acts and self.ramp > left:
            return f"ramp={self.ramp}: the weight reaches only {left / self.ramp:.0%} in this run"
        if self.count("decay") > left - self.ramp:
            return f"decay={self.count('decay')}: the weight has not reached final={self.final} at the end of this run"
        return None

    def count(self, name: str) -> int:
        """`warmup`, `ramp` or `decay` in gradient steps. Raises ValueError for a fraction of an unknown run."""
        given = self.given[name]
        if given >= 1 or given == 0:
            return int(given)
        if self.steps is None:
            raise ValueError(f"{name}={given} is a fraction of a run; tell CompositeLoss its steps")
        return round(given * self.steps)

    @property
    def warmup(self) -> int:
        """Gradient steps before the term acts."""
        return self.count("warmup")

    @property
    def ramp(self) -> int:
        """Gradient steps over which the weight grows."""
        return self.count("ramp")

    def share(self, step: Tensor) -> Tensor:
        """Share of the weight after warm-up and ramp at gradient step `step` [*b]: [*b], from 0 to 1."""
        return ((step - self.warmup + 1) / max(self.ramp, 1)).clamp(0, 1)

    def __call__(self, step: Tensor) -> Tensor:
        """Weight at gradient step `step` [*b]: [*b]."""
        if self.final is None:
            return self.share(step) * self.weight
        done = ((step - self.warmup - self.ramp) / max(self.count("decay"), 1)).clamp(0, 1)
        done = done if self.shape == "linear" else (1 - (math.pi * done).cos()) / 2
        return self.share(step) * (self.weight + (self.final - self.weight) * done)


class Multiplier(nn.Module):
    """Lagrange multiplier of `mean loss <= budget`, the variable of dual gradient ascent, kept as its logarithm."""

    def __init__(self, start: float, budget: float) -> None:
        super().__init__()
        if not start > 0 or not math.isfinite(budget):
            raise ValueError(f"a finite budget and a weight above 0 go together; got budget={budget}, weight={start}")
        self.budget, self.start = budget, start
        self.logarithm = nn.Parameter(torch.tensor(math.log(start)))

    @property
    def value(self) -> Tensor:
        """The multiplier [], without gradient."""
        return self.logarithm.detach().exp()

    def warning(self, loss: float) -> str | None:
        """What to say of the last batch's `loss` when the multiplier has grown far and the budget is not met."""
        grown, excess = self.value.item() / self.start, loss - self.budget
        if grown < FAR or excess <= 0 or (grown < ALONE and excess < BEYOND * abs(self.budget)):
            return None
        return f"its budget {self.budget:g} is not met: the last loss is {loss:.3g}, at {grown:.2g} times the weight"

    def forward(self, loss: Tensor) -> Tensor:
        """Loss [] of the multiplier, from the term's `loss` [B].

        Minimising it raises the multiplier while mean(loss) > budget and lowers it otherwise. It is linear in the
        logarithm, so that a multiplier that starts far away moves as fast as one that starts near.
        """
        return -self.logarithm * (loss.detach().mean() - self.budget)
