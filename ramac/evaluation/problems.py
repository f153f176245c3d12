"""Problems with a known return distribution, against which a learned critic is checked."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor
from torch.special import ndtri

from ramac.evaluation.calibration import quantile_levels
from ramac.spec import Spec, transitions
from ramac.tasks.bandit import Bandit

Law = Callable[[Tensor], Tensor]  # quantile function: levels -> returns


@dataclass
class Question:
    """A state, and actions that all have the same known law of the discounted return."""

    label: str
    observation: Tensor  # [O]
    action: Tensor  # [Q, A]
    law: Law


@dataclass
class Problem:
    """Transitions, their discount, the gradient steps to learn them in, and questions with known answers."""

    transitions: TensorDict  # [T], keys as in ramac.spec
    spec: Spec
    gamma: float
    steps: int
    questions: list[Question]


def single(label: str, law: Law, steps: int = 800) -> Problem:
    """One decision with reward law `law`. The 10 000 transitions hold its exact quantiles."""
    reward = law(quantile_levels(10_000)).float()
    nothing = torch.zeros(len(reward), 1)
    data = transitions(nothing, nothing, reward, nothing, torch.ones(len(reward)))
    spec = Spec.unit(1, 1).of_returns(reward.numpy())
    return Problem(data, spec, 0.0, steps, [Question(label, torch.zeros(1), torch.zeros(1, 1), law)])


def gaussian() -> Problem:
    """N(0, 10^2)."""
    return single("gaussian", lambda u: 10 * ndtri(u))


def exponential() -> Problem:
    """Exponential with mean 1: skewed, bounded below."""
    return single("exponential", lambda u: -torch.log1p(-u))


def hazard() -> Problem:
    """-70 with probability 0.05, otherwise 0: the hazard of Stochastic-D4RL."""
    return single("hazard", lambda u: torch.where(u < 0.05, -70.0, 0.0).to(u.dtype), steps=2800)


def chain(length: int = 20) -> Problem:
    """`length` rewards N(0, 1), undiscounted. The return of the first state, N(0, length), needs bootstrapping."""
    reward = ndtri(quantile_levels(1000)).float().repeat(length)
    step = torch.arange(length).repeat_interleave(1000)
    place = (2 * step / length - 1).unsqueeze(-1)  # observation in [-1, 1)
    nothing = torch.zeros_like(place)
    data = transitions(place, nothing, reward, place + 2 / length, step == length - 1)
    left = torch.arange(length, 0, -1)
    std = float(left.float().mean().sqrt())
    widest = 4 * length**0.5
    spec = replace(Spec.unit(1, 1), return_std=std, return_range=(-widest, widest))
    asked = Question("chain", torch.full((1,), -1.0), torch.zeros(1, 1), lambda u: length**0.5 * ndtri(u))
    return Problem(data, spec, 1.0, 1800, [asked])


def bandit() -> Problem:
    """The risky bandit; centre N(5, 0.5^2), ring 0.95 N(9, 0.5^2) + 0.05 N(-50, 0.5^2)."""
    # the task's own 10 000 draws have 4.6 % hazards on the ring instead of 5 %
    data = Bandit(transitions=200_000).dataset()
    angle = torch.arange(8) * np.pi / 4
    ring = 0.92 * torch.stack([angle.cos(), angle.sin()], -1)

    def on_ring(u: Tensor) -> Tensor:
        struck = -50 + 0.5 * ndtri((u / 0.05).clamp(max=1 - 1e-9))
        return torch.where(u < 0.05, struck, 9 + 0.5 * ndtri(((u - 0.05) / 0.95).clamp(min=1e-9)))

    questions = [
        Question("bandit centre", torch.zeros(1), torch.zeros(1, 2), lambda u: 5 + 0.5 * ndtri(u)),
        Question("bandit ring", torch.zeros(1), ring.float(), on_ring),
    ]
    return Problem(data.transitions, data.spec, 0.0, 1700, questions)


PROBLEMS: tuple[Callable[[], Problem], ...] = (gaussian, exponential, hazard, chain, bandit)
