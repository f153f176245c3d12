"""Distortion risk measures; formulas and reference values are tested in tests/test_risk.py."""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.special import ndtr, ndtri

from ramac.registry import risks
from ramac.risk import RiskMeasure


def finite(name: str, value: float) -> float:
    """The value itself. Raises ValueError when it is nan or infinite."""
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")
    return value


@risks.register("neutral")
class Neutral(RiskMeasure):
    """The mean: beta(u) = u, g(tau) = tau."""

    cvar_level = 1.0

    def level(self, u: Tensor) -> Tensor:
        return u

    def distort(self, tau: Tensor) -> Tensor:
        return tau


@risks.register("cvar", number="alpha")
class CVaR(RiskMeasure):
    """Mean of the worst `alpha` share of returns: beta(u) = alpha u, g(tau) = min(tau / alpha, 1).

    Paper: Rockafellar & Uryasev 2000, Optimization of Conditional Value-at-Risk.
    """

    def __init__(self, *, alpha: float = 0.1) -> None:  # 0.1: RAMAC, ORAAC, CODAC
        super().__init__()
        if not 0 < alpha <= 1:
            raise ValueError(f"alpha must be in (0, 1], got {alpha}")
        self.alpha = self.cvar_level = alpha

    def level(self, u: Tensor) -> Tensor:
        return self.alpha * u

    def distort(self, tau: Tensor) -> Tensor:
        return (tau / self.alpha).clamp(max=1)


@risks.register("wang", number="eta")
class Wang(RiskMeasure):
    """Shift in normal scores: beta(u) = Phi(Phi^-1(u) + eta); eta < 0 is risk-averse.

    Paper: Wang 2000, A Class of Distortion Operators; sign as in IQN (Dabney et al. 2018).
    """

    def __init__(self, *, eta: float = -0.75) -> None:  # -0.75: IQN, ORAAC
        super().__init__()
        self.eta = finite("eta", eta)

    def level(self, u: Tensor) -> Tensor:
        return ndtr(ndtri(u) + self.eta)

    def distort(self, tau: Tensor) -> Tensor:
        return ndtr(ndtri(tau) - self.eta)


@risks.register("cpw", number="eta")
class CPW(RiskMeasure):
    """Cumulative probability weighting W(p) = p^eta / (p^eta + (1-p)^eta)^(1/eta); `convention` says where W stands.

    `iqn`: beta = W (IQN, ORAAC, RAMAC; under-weights both tails). `cdf`: g = W (DSAC, CODAC; over-weights both tails).
    `gain`: g(tau) = 1 - W(1 - tau), Tversky and Kahneman's decumulative weights of gains.
    Paper: Tversky & Kahneman 1992, Advances in Prospect Theory.
    """

    def __init__(self, *, eta: float = 0.71, convention: Literal["iqn", "cdf", "gain"] = "iqn") -> None:  # 0.71: IQN
        super().__init__()
        if not 0.28 <= eta <= 1:  # below about 0.279 W is not monotone
            raise ValueError(f"eta must be in [0.28, 1], where the weighting is monotone, got {eta}")
        self.eta, self.convention = eta, convention

    def weight(self, p: Tensor) -> Tensor:
        """W(p)."""
        up, down = p**self.eta, (1 - p) ** self.eta
        return up / (up + down) ** (1 / self.eta)

    def inverse(self, p: Tensor) -> Tensor:
        """W^-1(p) by bisection, to the last bit of the float type."""
        low, high = torch.zeros_like(p), torch.ones_like(p)
        for _ in range(60 if p.dtype == torch.float64 else 30):
            middle = (low + high) / 2
            below = self.weight(middle) < p
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return torch.where(p >= 1, torch.ones_like(p), torch.where(p <= 0, torch.zeros_like(p), (low + high) / 2))

    def level(self, u: Tensor) -> Tensor:
        if self.convention == "iqn":
            return self.weight(u)
        return self.inverse(u) if self.convention == "cdf" else 1 - self.inverse(1 - u)

    def distort(self, tau: Tensor) -> Tensor:
        if self.convention == "iqn":
            return self.inverse(tau)
        return self.weight(tau) if self.convention == "cdf" else 1 - self.weight(1 - tau)


@risks.register("power", number="eta")
class Power(RiskMeasure):
    """Worst (eta < 0) or best (eta > 0) of k = 1 + |eta| draws: beta(u) = 1 - (1-u)^(1/k), or u^(1/k).

    Paper: Dabney et al. 2018, Implicit Quantile Networks.
    """

    def __init__(self, *, eta: float = -2.0) -> None:  # -2: IQN
        super().__init__()
        self.eta = finite("eta", eta)

    def level(self, u: Tensor) -> Tensor:
        k = 1 + abs(self.eta)
        return 1 - (1 - u) ** (1 / k) if self.eta < 0 else u ** (1 / k)

    def distort(self, tau: Tensor) -> Tensor:
        k = 1 + abs(self.eta)
        return 1 - (1 - tau) ** k if self.eta < 0 else tau**k
