"""Levels of a return distribution, cells of levels, and quantile functions through values at levels."""

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

PARTS = 16  # of a cell whose levels weigh differently: CVaR_0.01 of a normal by 32 quantiles within 0.01

# the standard normal's distribution function and quantile function; torch.special has no types
ndtr = cast("Callable[[Tensor], Tensor]", torch.special.ndtr)  # pyright: ignore[reportUnknownMemberType]
ndtri = cast("Callable[[Tensor], Tensor]", torch.special.ndtri)  # pyright: ignore[reportUnknownMemberType]


def finite(name: str, value: float) -> float:
    """The value itself. Raises ValueError when it is nan or infinite."""
    if not abs(value) < float("inf"):
        raise ValueError(f"{name} must be finite, got {value}")
    return value


def stratified(shape: tuple[int, ...], count: int, like: Tensor) -> Tensor:
    """One uniform draw in each of `count` equal strata: [*shape, count]; 3-11 times less error than plain draws."""
    draw = torch.rand(*shape, count, device=like.device, dtype=like.dtype)
    return (torch.arange(count, device=like.device, dtype=like.dtype) + draw) / count


def normal_score(level: Tensor) -> Tensor:
    """Phi^-1 of levels clamped to [1e-6, 1 - 1e-6]: finite in float32 too."""
    return ndtri(level.clamp(1e-6, 1 - 1e-6))


def edges(count: int, like: Tensor) -> Tensor:
    """Edges of `count` equally probable cells: [count + 1]."""
    return torch.linspace(0, 1, count + 1, device=like.device, dtype=like.dtype)


def midpoints(edges: Tensor) -> Tensor:
    """Middle levels of the cells between edges: [*b, N+1] -> [*b, N]."""
    return (edges[..., 1:] + edges[..., :-1]) / 2


def ends(x: Tensor) -> Tensor:
    """First and last: [*b, N] -> [*b, 2]."""
    return torch.stack([x[..., 0], x[..., -1]], -1)


def parts(edges: Tensor) -> tuple[Tensor, Tensor]:
    """Cumulative shares [PARTS+1] of the parts of a cell, and edges [*b, 2, PARTS+1] of those of the first and last."""
    t = torch.linspace(0, 1, PARTS + 1, device=edges.device, dtype=edges.dtype)
    share = t**3 * (10 - 15 * t + 6 * t**2)  # small parts at both ends
    return share, torch.lerp(ends(edges[..., :-1]).unsqueeze(-1), ends(edges[..., 1:]).unsqueeze(-1), share)


def tails(value: Tensor, edges: Tensor, fine: Tensor) -> tuple[Tensor, Tensor]:
    """Lines through the two first and last values [*b, N] in normal scores.

    Mean score of each part [*b, 2, PARTS], with the edges `fine`, from the cell's own score, and both slopes [*b, 2].
    """
    score, own = ndtri(fine), normal_score(midpoints(edges))
    density = (-score.square() / 2).exp() / math.sqrt(2 * math.pi)
    mean = -density.diff(dim=-1) / fine.diff(dim=-1).clamp_min(torch.finfo(fine.dtype).tiny)
    beyond = mean.clamp(score[..., :-1], score[..., 1:]) - ends(own).unsqueeze(-1)
    slopes = value.diff(dim=-1) / own.diff(dim=-1).clamp_min(torch.finfo(own.dtype).eps)
    return beyond, torch.stack([slopes[..., :2].amin(-1), slopes[..., -2:].amin(-1)], -1)


def inside(edges: Tensor) -> Tensor:
    """Edges moved off 0 and 1, where some distortions have an infinite slope."""
    info = torch.finfo(edges.dtype)
    return edges.clamp(info.tiny, 1 - info.eps)


def closed(inner: Tensor) -> Tensor:
    """Inner edges with the ends 0 and 1 added: [*b, N-1] -> [*b, N+1]."""
    zero = inner.new_zeros(*inner.shape[:-1], 1)
    return torch.cat([zero, inner, zero + 1], -1)


def cumulative(probability: Tensor) -> Tensor:
    """Edges of cells with these probabilities: [*b, N] -> [*b, N+1]; clamped to [0, 1]."""
    return closed(probability.cumsum(-1)[..., :-1].clamp(max=1))


def step(value: Tensor, edges: Tensor, level: Tensor) -> Tensor:
    """Quantile function of sorted atoms: value [*b, N], edges [*b, N+1], read at `level` [L] or [*b, L] -> [*b, L]."""
    inner = edges[..., 1:-1].detach().contiguous()
    return value.gather(-1, torch.searchsorted(inner, level.expand(*inner.shape[:-1], -1).contiguous()))


def interpolate(value: Tensor, at: Tensor, level: Tensor) -> Tensor:
    """Quantile function through `value` [*b, N] at the levels `at` [N] or [*b, N], read at `level` [L] or [*b, L].

    Linear between neighbours, and beyond the ends with the slope of the last two -> [*b, L].
    """
    shape = value.shape[:-1]
    at, level = at.expand(*shape, -1).contiguous(), level.expand(*shape, -1).contiguous()
    above = torch.searchsorted(at.detach(), level.detach()).clamp(1, max(at.shape[-1] - 1, 1))
    below = above - 1
    above = above.clamp(max=at.shape[-1] - 1)  # a single value
    start, end = at.gather(-1, below), at.gather(-1, above)
    share = (level - start) / (end - start).clamp_min(torch.finfo(at.dtype).eps)
    return torch.lerp(value.gather(-1, below), value.gather(-1, above), share)


def between(value: Tensor, at: Tensor, level: Tensor) -> Tensor:
    """As `interpolate`, but linear in normal scores of the levels: exact for a normal law, beyond the ends too."""
    return interpolate(value, normal_score(at), normal_score(level))
