"""Distortion risk measures of the literature."""

from typing import Literal

import torch
from torch import Tensor

from ramac.registry import risks
from ramac.risk import Distortion, between, finite, interpolate, midpoints, ndtr, ndtri


@risks.register("neutral")
class Neutral(Distortion):
    """The mean: beta(u) = u, g(tau) = tau."""

    cvar_level = 1.0

    def level(self, u: Tensor) -> Tensor:
        return u

    def distort(self, tau: Tensor) -> Tensor:
        return tau


def tail(alpha: float) -> float:
    """`alpha` itself, a probability in (0, 1]. Raises ValueError."""
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha must be in (0, 1], got {alpha}")
    return alpha


@risks.register("cvar", suffix="alpha")
class CVaR(Distortion):
    """Mean of the worst `alpha` share of returns: beta(u) = alpha u, g(tau) = min(tau / alpha, 1).

    Paper: Rockafellar & Uryasev 2000, Optimization of Conditional Value-at-Risk.

    Args:
        alpha: Share of the worst returns, in (0, 1]; default as in RAMAC, ORAAC and CODAC.
    """

    def __init__(self, *, alpha: float = 0.1) -> None:
        super().__init__()
        self.alpha = tail(alpha)

    @property
    def cvar_level(self) -> float | Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.alpha

    def level(self, u: Tensor) -> Tensor:
        return self.alpha * u

    def distort(self, tau: Tensor) -> Tensor:
        return (tau / self.alpha).clamp(max=1)

    def cvar_mixture(self, like: Tensor) -> tuple[Tensor, Tensor]:
        level = like.new_zeros(1) + self.alpha  # itself: one number, or one of each row
        return level, torch.ones_like(level)


@risks.register("var", suffix="alpha")
class VaR(Distortion):
    """The `alpha` quantile of the return: beta(u) = alpha, g(tau) = 1{tau >= alpha}; not coherent.

    Interpolated between the midpoints of two atoms; it has no density.
    Paper: Jorion 2006, Value at Risk.

    Args:
        alpha: Level of the quantile; default as cvar.
    """

    def __init__(self, *, alpha: float = 0.1) -> None:
        super().__init__()
        self.alpha = tail(alpha)

    def level(self, u: Tensor) -> Tensor:
        return torch.zeros_like(u) + self.alpha

    def distort(self, tau: Tensor) -> Tensor:
        return (tau >= self.alpha).to(tau.dtype)

    def density(self, tau: Tensor) -> Tensor:
        raise ValueError(f"var puts all weight on the level {self.alpha}: it has no density")

    def forward(self, value: Tensor, edges: Tensor) -> Tensor:
        middle = midpoints(edges)
        level = (torch.zeros_like(value[..., :1]) + self.alpha).clamp(middle[..., :1], middle[..., -1:])
        return interpolate(value, middle, level).squeeze(-1)

    def of_cells(self, value: Tensor, edges: Tensor) -> Tensor:
        return between(value, midpoints(edges), torch.zeros_like(value[..., :1]) + self.alpha).squeeze(-1)


@risks.register("wang", suffix="eta")
class Wang(Distortion):
    """Shift in normal scores: beta(u) = Phi(Phi^-1(u) + eta); eta < 0 is risk-averse (CODAC's parameter is -eta).

    Paper: Wang 2000, A Class of Distortion Operators; sign as in IQN (Dabney et al. 2018).

    Args:
        eta: Shift in normal scores, below 0 risk-averse; default as in IQN and ORAAC.
    """

    def __init__(self, *, eta: float = -0.75) -> None:
        super().__init__()
        self.eta = finite("eta", eta)

    def level(self, u: Tensor) -> Tensor:
        return ndtr(ndtri(u) + self.eta)

    def distort(self, tau: Tensor) -> Tensor:
        return ndtr(ndtri(tau) - self.eta)


@risks.register("cpw", suffix="eta")
class CPW(Distortion):
    """Cumulative probability weighting W(p) = p^eta / (p^eta + (1-p)^eta)^(1/eta); `convention` says what W is.

    `iqn`: beta = W (IQN, ORAAC, RAMAC; under-weights both tails). `cdf`: g = W (DSAC, CODAC; over-weights both tails).
    `gain`: g(tau) = 1 - W(1 - tau), Tversky and Kahneman's decumulative weights of gains.
    Paper: Tversky & Kahneman 1992, Advances in Prospect Theory.

    Args:
        eta: Exponent of the weighting; 0.71 as in IQN.
        convention: What W is: beta (`iqn`), g (`cdf`) or the weights of gains (`gain`), as above.
    """

    def __init__(self, *, eta: float = 0.71, convention: Literal["iqn", "cdf", "gain"] = "iqn") -> None:
        super().__init__()
        if not 0.28 <= eta <= 1:  # below about 0.279 W is not monotone
            raise ValueError(f"eta must be in [0.28, 1], where the weighting is monotone, got {eta}")
        self.eta, self.convention = eta, convention

    def weight(self, p: Tensor, rest: Tensor | None = None) -> Tensor:
        """W(p); `rest` is 1 - p, if it is known more exactly."""
        up, down = p**self.eta, (1 - p if rest is None else rest) ** self.eta
        return up / (up + down) ** (1 / self.eta)

    def inverse(self, p: Tensor) -> Tensor:
        """W^-1(p) by bisection, to 2^-61 in float64 and 2^-31 in float32; differentiable in p."""
        with torch.no_grad():
            low, high = torch.zeros_like(p), torch.ones_like(p)
            for _ in range(60 if p.dtype == torch.float64 else 30):
                middle = (low + high) / 2
                below = self.weight(middle) < p
                low, high = torch.where(below, middle, low), torch.where(below, high, middle)
            root = torch.where(p >= 1, torch.ones_like(p), torch.where(p <= 0, torch.zeros_like(p), (low + high) / 2))
        if not p.requires_grad:
            return root
        with torch.enable_grad():  # one Newton step adds zero, with the gradient 1 / W'
            leaf = root.clone().requires_grad_()
            (slope,) = torch.autograd.grad(self.weight(leaf).sum(), leaf)
        return root + (p - p.detach()) / slope

    def level(self, u: Tensor) -> Tensor:
        if self.convention == "iqn":
            return self.weight(u)
        return self.inverse(u) if self.convention == "cdf" else 1 - self.inverse(1 - u)

    def distort(self, tau: Tensor) -> Tensor:
        if self.convention == "iqn":
            return self.inverse(tau)
        return self.weight(tau) if self.convention == "cdf" else 1 - self.weight(1 - tau, tau)


class Copies(Distortion):
    """Base of the expected worst of some independent returns: beta(u) = 1 - (1-u)^(1/k), g(tau) = 1 - (1-tau)^k."""

    @property
    def copies(self) -> float | Tensor:
        """k >= 1, how many returns there are."""
        raise NotImplementedError(f"{type(self).__name__} must define copies")

    def level(self, u: Tensor) -> Tensor:
        return 1 - (1 - u) ** (1 / self.copies)

    def distort(self, tau: Tensor) -> Tensor:
        return 1 - (1 - tau) ** self.copies


@risks.register("dual_power", suffix="nu")
class DualPower(Copies):
    """Expected worst of nu >= 1 independent returns: beta(u) = 1 - (1-u)^(1/nu), g(tau) = 1 - (1-tau)^nu.

    The same as MINVAR with parameter nu - 1. Paper: Cherny & Madan 2009, New Measures for Performance Evaluation.

    Args:
        nu: Number of independent returns, at least 1; 3 equals power-2.
    """

    def __init__(self, *, nu: float = 3.0) -> None:
        super().__init__()
        if not finite("nu", nu) >= 1:
            raise ValueError(f"nu must be at least 1, got {nu}")
        self.nu = nu

    @property
    def copies(self) -> float | Tensor:
        return self.nu


@risks.register("power", suffix="eta")
class Power(Copies):
    """Expected worst (eta < 0) or best (eta > 0) of k = 1 + |eta| returns: beta(u) = 1 - (1-u)^(1/k), or u^(1/k).

    Paper: Dabney et al. 2018, Implicit Quantile Networks.

    Args:
        eta: Below 0 risk-averse; 1 + |eta| returns are compared; default as in IQN.
    """

    def __init__(self, *, eta: float = -2.0) -> None:
        super().__init__()
        self.eta, self.averse = finite("eta", eta), eta <= 0

    @property
    def copies(self) -> float | Tensor:
        return 1 + abs(self.eta)

    def level(self, u: Tensor) -> Tensor:
        return super().level(u) if self.averse else u ** (1 / self.copies)

    def distort(self, tau: Tensor) -> Tensor:
        return super().distort(tau) if self.averse else tau**self.copies
