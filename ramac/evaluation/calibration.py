"""How far a learned distribution of returns is from the outcomes: CRPS and the probability integral transform."""

import torch
from torch import Tensor


def spread(value: Tensor, other: Tensor) -> Tensor:
    """E|X - Y| of equally likely values [*b, L] and [*b, M] -> [*b]."""
    return (value.unsqueeze(-1) - other.unsqueeze(-2)).abs().mean((-2, -1))


def crps(predicted: Tensor, outcome: Tensor) -> Tensor:
    """Mean continuous ranked probability score of equally likely values [*b, L] at outcomes [*b, M]: [*b].

    E|X - y| - E|X - X'| / 2; lower is better, least for the outcomes' own law (Gneiting & Raftery 2007).
    """
    return spread(predicted, outcome) - spread(predicted, predicted) / 2


def pit(predicted: Tensor, outcome: Tensor, tolerance: float, bins: int = 20) -> Tensor:
    """Distribution function of the probability integral transform at 0, 1/bins, ..., 1: [bins + 1].

    predicted [R, L] equally likely values, outcome [R, M], in the same units as `tolerance`. F(y) is spread evenly over
    [F(y - tolerance), F(y + tolerance)]: an atom that is met but for that much counts as met (Czado et al. 2009).
    A calibrated prediction gives the diagonal.
    """
    count, ordered = predicted.shape[-1], predicted.sort(-1).values.contiguous()
    low = torch.searchsorted(ordered, (outcome - tolerance).contiguous()) / count
    high = torch.searchsorted(ordered, (outcome + tolerance).contiguous(), right=True) / count
    level = torch.linspace(0, 1, bins + 1, dtype=predicted.dtype)
    inside = (level - low.unsqueeze(-1)) / (high - low).unsqueeze(-1).clamp_min(1e-9)
    return inside.clamp(0, 1).mean((0, 1))


def miscalibration(distribution: Tensor) -> float:
    """Largest distance of `pit`'s distribution function from the diagonal: 0 perfect, 1 worst."""
    return (distribution - torch.linspace(0, 1, len(distribution), dtype=distribution.dtype)).abs().max().item()
