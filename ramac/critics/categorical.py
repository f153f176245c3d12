"""Categorical critics: probabilities of fixed returns, by projected (C51) or smoothed (HL-Gauss) targets."""

import torch
from torch import Tensor

from ramac.critics import Critic
from ramac.errors import at_least, at_most
from ramac.registry import critics
from ramac.risk import RiskMeasure, cumulative, step
from ramac.spec import Spec


class Categorical(Critic):
    """Probabilities of `atoms` equally spaced returns; an entry writes `project`.

    The support reaches from `low` to `high` (reward units); by default a tenth of the logged returns' range beyond them
    on either side, and as far as the worst and the best cut episode would lead, repeated for ever. Returns outside are
    clipped; `warning` tells when these are many.

    Args:
        atoms: Number of atoms; 101 as in Farebrother et al. 2024 (C51's 51 add 5 % standard deviation over 20 backups).
        low: Lowest atom (reward units); null: from the data, as above.
        high: Highest atom (reward units); null: from the data, as above.
    """

    differentiable_quantile = False  # its quantiles are fixed atoms

    atom: Tensor
    clipped: Tensor  # [] share of recent targets outside the support: average over about 100 gradient steps

    def __init__(
        self,
        spec: Spec,
        *,
        atoms: int = 101,
        low: float | None = None,
        high: float | None = None,
        hidden: tuple[int, ...] = (256, 256),
        ensemble: int = 2,
    ) -> None:
        at_least(2, atoms=atoms)
        at_most(10_000, atoms=atoms)
        super().__init__(spec, hidden=hidden, outputs=atoms, ensemble=ensemble)
        least, most = spec.return_range or (
            spec.return_mean - 5 * spec.return_std,
            spec.return_mean + 5 * spec.return_std,
        )
        margin = 0.1 * max(most - least, spec.return_std)
        lowest, highest = spec.return_limits or (least, most)
        start = min(least - margin, lowest) if low is None else low
        end = max(most + margin, highest) if high is None else high
        known = spec.return_range or (low is not None and high is not None)  # otherwise a default bound is a guess
        if not (abs(start) < float("inf") and abs(end) < float("inf") and (start < end or not known)):
            raise ValueError(f"low must be below high and both finite, got {start:g} and {end:g}")
        if spec.return_range and not start <= least <= most <= end:
            raise ValueError(f"atoms from {start:g} to {end:g} leave out logged returns from {least:g} to {most:g}")
        support = torch.linspace(start, end, atoms, dtype=torch.float64)
        self.register_buffer("atom", ((support - spec.return_mean) / spec.return_std).float())
        self.register_buffer("clipped", torch.zeros(()), persistent=False)  # of training, not of the agent

    @property
    def width(self) -> Tensor:
        """Distance between atoms, standardised: []."""
        return (self.atom[-1] - self.atom[0]) / (len(self.atom) - 1)

    def project(self, target: Tensor) -> Tensor:
        """Standardised returns [B, M] inside the support -> probability that each gives to every atom: [B, M, N]."""
        raise NotImplementedError(f"{type(self).__name__} must define project(target)")

    def log_probability(self, features: Tensor) -> Tensor:
        """Log-probabilities of the atoms [E, B, N], starting near the standard normal.

        From a uniform start the tail mass would vanish slowly, and every backup would spread it further.
        """
        return (features - self.atom.square() / 2).log_softmax(-1)

    def support(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Atoms [E, B, N] in order and the edges [E, B, N+1] of their probabilities."""
        return self.readout(self.log_probability(features).exp())

    def readout(self, probability: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities of the atoms [*b, N] -> atoms of the law that they stand for [*b, N], and their edges."""
        return self.atom.expand_as(probability), cumulative(probability)

    def quantile(self, features: Tensor, level: Tensor) -> Tensor:
        return step(*self.support(features), level)

    def regression(self, features: Tensor, target: Tensor) -> Tensor:
        inside = target.clamp(self.atom[0], self.atom[-1])
        with torch.no_grad():  # a thousandth of a gap is rounding
            self.clipped.lerp_(((target - inside).abs() > 1e-3 * self.width).to(self.clipped.dtype).mean(), 0.01)
        return -(self.project(inside).mean(-2) * self.log_probability(features)).sum(-1)

    def measure(self, features: Tensor, risk: RiskMeasure) -> Tensor:
        return risk(*self.support(features))

    def measure_mixture(self, features: Tensor, risk: RiskMeasure) -> Tensor:
        return risk(*self.readout(self.log_probability(features).exp().mean(0)))  # the atoms are common to all members

    def warning(self) -> str | None:
        low, high = self.scaling.to_return(self.atom[[0, -1]]).tolist()
        where, gap = f"its atoms, which reach from {low:g} to {high:g}", float(self.width * self.scaling.return_std)
        if (share := self.clipped.item()) > 0.01:
            return f"the critic clips {share:.0%} of its targets to {where}; widen them by critic.low= and critic.high="
        if gap > 0.5 * self.scaling.return_std:
            text = f"{where} in steps of {gap:g}, are coarse: returns deviate by {float(self.scaling.return_std):g}"
            return f"{text}; set critic.atoms=, or critic.low= and critic.high="
        return None


@critics.register("c51", suffix="atoms")
class C51(Categorical):
    """Categorical: each target return is split between the two nearest atoms, which widens it by up to half a gap.

    A target y gives atom i the probability (1 - |y - z_i| / gap)+; the loss is the cross-entropy.
    Paper: Bellemare et al. 2017, A Distributional Perspective on Reinforcement Learning.
    """

    def project(self, target: Tensor) -> Tensor:
        return (1 - (target.unsqueeze(-1) - self.atom).abs() / self.width).clamp_min(0)


@critics.register("hlgauss", suffix="atoms")
class HLGauss(Categorical):
    """Categorical: each target return is spread by a normal over the bins around the atoms (histogram loss).

    A target y gives atom i Phi((z_i + w/2 - y) / s) - Phi((z_i - w/2 - y) / s), bins of width w, s = `smoothing` w; the
    loss is the cross-entropy. The added variance is known; the readout removes it by shrinking atoms towards the mean.
    Paper: Imani & White 2018, Improving Regression Performance with Distributional Losses.

    Args:
        smoothing: Standard deviation of the normal in bins; default as in Farebrother et al. 2024.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        atoms: int = 101,
        low: float | None = None,
        high: float | None = None,
        smoothing: float = 0.75,
        hidden: tuple[int, ...] = (256, 256),
        ensemble: int = 2,
    ) -> None:
        if not 0 < smoothing < float("inf"):
            raise ValueError(f"smoothing must be positive and finite, got {smoothing}")
        super().__init__(spec, atoms=atoms, low=low, high=high, hidden=hidden, ensemble=ensemble)
        self.smoothing = smoothing

    def project(self, target: Tensor) -> Tensor:
        edge = torch.cat([self.atom - self.width / 2, self.atom[-1:] + self.width / 2])
        below = torch.special.ndtr((edge - target.unsqueeze(-1)) / (self.smoothing * self.width))
        return below.diff(dim=-1) / (below[..., -1:] - below[..., :1])

    def readout(self, probability: Tensor) -> tuple[Tensor, Tensor]:
        atom, edges = super().readout(probability)
        probability = edges.diff(dim=-1)
        mean = (probability * atom).sum(-1, keepdim=True)
        variance = (probability * (atom - mean).square()).sum(-1, keepdim=True)
        added = (self.smoothing**2 + 1 / 12) * self.width**2  # by the normal and by rounding to bins (Sheppard)
        kept = (1 - added / variance.clamp_min(1e-12)).clamp_min(1e-4).sqrt()
        return mean + kept * (atom - mean), edges
