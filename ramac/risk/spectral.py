"""Spectral risk measures: the weight falls with the level, so all of them are risk-averse and coherent."""

import math

import torch
from torch import Tensor

from ramac.registry import risks
from ramac.risk import Distortion, finite
from ramac.risk.distortions import tail


@risks.register("spectral", suffix="k")
class Spectral(Distortion):
    """Exponential weights w(tau) = k e^(-k tau) / (1 - e^-k), k > 0; k -> 0 is the mean.

    Paper: Acerbi 2002, Spectral Measures of Risk; as used by ACSRM (Moghimi & Ku 2025).

    Args:
        k: Decay of the weights, above 0; at 5 the mean level is 0.19.
    """

    def __init__(self, *, k: float = 5.0) -> None:
        super().__init__()
        if not finite("k", k) > 0:
            raise ValueError(f"k must be positive, got {k}; risk=neutral is the mean")
        self.k = k

    @property
    def total(self) -> float | Tensor:
        """e^-k - 1"""
        return self.k.neg().expm1() if isinstance(self.k, Tensor) else math.expm1(-self.k)

    def level(self, u: Tensor) -> Tensor:
        return (-torch.log1p(u * self.total) / self.k).clamp(0, 1)

    def distort(self, tau: Tensor) -> Tensor:
        return torch.expm1(-self.k * tau) / self.total


@risks.register("mean_cvar", suffix="alpha")
class MeanCVaR(Distortion):
    """c E[Z] + (1 - c) CVaR_alpha(Z) with c = `mean_weight`: g(tau) = c tau + (1-c) min(tau / alpha, 1).

    Paper: Rockafellar, Uryasev & Zabarankin 2006, Generalized Deviations in Risk Analysis.

    Args:
        alpha: Share of the worst returns, in (0, 1]; default as cvar.
        mean_weight: Weight c of the mean, in [0, 1]; default equal halves.
    """

    def __init__(self, *, alpha: float = 0.1, mean_weight: float = 0.5) -> None:
        super().__init__()
        if not 0 <= mean_weight <= 1:
            raise ValueError(f"mean_weight must be in [0, 1], got {mean_weight}")
        self.alpha, self.mean_weight = tail(alpha), mean_weight

    def level(self, u: Tensor) -> Tensor:
        c, alpha = self.mean_weight, self.alpha
        kink = c * alpha + 1 - c  # g(alpha)
        tiny = torch.finfo(u.dtype).tiny
        above = alpha + (u - kink).clamp_min(0) / (c.clamp_min(tiny) if isinstance(c, Tensor) else max(c, tiny))
        return torch.where(u <= kink, u / (c + (1 - c) / alpha), above.clamp(max=1))

    def distort(self, tau: Tensor) -> Tensor:
        return self.mean_weight * tau + (1 - self.mean_weight) * (tau / self.alpha).clamp(max=1)

    def cvar_mixture(self, like: Tensor) -> tuple[Tensor, Tensor]:
        level = like.new_zeros(1) + self.alpha
        return level, torch.zeros_like(level) + 1 - self.mean_weight


class Stressed(Distortion):
    """Base of Cherny and Madan's measures: stress >= 0, where 0 is the mean.

    Args:
        stress: At least 0, where 0 is the mean; 1 means two copies.
    """

    def __init__(self, *, stress: float = 1.0) -> None:
        super().__init__()
        if not finite("stress", stress) >= 0:
            raise ValueError(f"stress must be at least 0, got {stress}")
        self.stress = stress

    @property
    def power(self) -> float | Tensor:
        """1 + stress"""
        return 1 + self.stress


@risks.register("maxvar", suffix="stress")
class MaxVaR(Stressed):
    """Mean of the return whose best of 1 + stress copies is Z: beta(u) = u^(1 + stress); weights are unbounded near 0.

    Paper: Cherny & Madan 2009, New Measures for Performance Evaluation.
    """

    def level(self, u: Tensor) -> Tensor:
        return u**self.power

    def distort(self, tau: Tensor) -> Tensor:
        return tau ** (1 / self.power)


@risks.register("minmaxvar", suffix="stress")
class MinMaxVaR(Stressed):
    """Mean of the worst of p copies of the return of maxvar: g(tau) = 1 - (1 - tau^(1/p))^p, p = 1 + stress.

    Paper: Cherny & Madan 2009, New Measures for Performance Evaluation.
    """

    def level(self, u: Tensor) -> Tensor:
        return (1 - (1 - u) ** (1 / self.power)) ** self.power

    def distort(self, tau: Tensor) -> Tensor:
        return 1 - (1 - tau ** (1 / self.power)) ** self.power


@risks.register("maxminvar", suffix="stress")
class MaxMinVaR(Stressed):
    """Mean of the return whose best of p = 1 + stress copies is the worst of p of Z: g(tau) = (1 - (1-tau)^p)^(1/p).

    Paper: Cherny & Madan 2009, New Measures for Performance Evaluation.
    """

    def level(self, u: Tensor) -> Tensor:
        return 1 - (1 - u**self.power) ** (1 / self.power)

    def distort(self, tau: Tensor) -> Tensor:
        # 1 - (1 - tau)^p, exact for tiny tau: rounded to 0, its root would have an infinite slope
        return (-torch.expm1(self.power * torch.log1p(-tau))) ** (1 / self.power)
