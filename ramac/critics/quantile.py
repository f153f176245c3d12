"""Critics with a fixed grid of quantiles: free ones (QR) and ones that cannot cross (NCQR)."""

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ramac.critics import Critic, crossed, quantile_huber
from ramac.errors import at_least, at_most
from ramac.registry import critics
from ramac.risk import RiskMeasure, between, edges, midpoints, mixture, normal_score
from ramac.spec import Spec


@critics.register("qr", suffix="quantiles")
class QR(Critic):
    """Quantile regression: N quantiles at the midpoints (2i-1)/2N; risk by the weights of the cells (`of_cells`).

    Elsewhere the quantile function is linear in normal scores, and targets are drawn from it: midpoints as targets
    would lose variance at every backup (12 % of a normal's standard deviation over 20 backups with N = 50).
    Paper: Dabney et al. 2018, Distributional Reinforcement Learning with Quantile Regression.

    Args:
        quantiles: Number of quantiles; QR-DQN has 200. With 100, CVaR at 0.05, 0.1 and 0.25 is exact: they are edges of
            cells.
        kappa: Threshold of the Huber loss, in standard deviations of returns; above 0 biased (docs/results/critics.md).
    """

    def __init__(
        self,
        spec: Spec,
        *,
        quantiles: int = 100,
        hidden: tuple[int, ...] = (256, 256),
        kappa: float = 0.0,
        ensemble: int = 2,
    ) -> None:
        at_least(0, kappa=kappa)
        at_least(2, quantiles=quantiles)  # one is the median only
        at_most(10_000, quantiles=quantiles)
        super().__init__(spec, hidden=hidden, outputs=quantiles, ensemble=ensemble)
        self.quantiles, self.kappa = quantiles, kappa

    def grid(self, features: Tensor) -> Tensor:
        """Levels of the quantiles, the middles of N equal cells: [N]."""
        return midpoints(edges(self.quantiles, features))

    def values(self, features: Tensor) -> Tensor:
        """Unsorted quantiles at the midpoints, features [E, B, F] -> [E, B, N]."""
        return features

    def quantile(self, features: Tensor, level: Tensor) -> Tensor:
        # sorting crossed quantiles never moves them away from the truth
        return between(self.values(features).sort(-1).values, self.grid(features), level)

    def crossing(self, features: Tensor) -> Tensor:
        return crossed(self.values(features))

    def regression(self, features: Tensor, target: Tensor) -> Tensor:
        return quantile_huber(self.values(features), self.grid(features), target, self.kappa)

    def measure(self, features: Tensor, risk: RiskMeasure) -> Tensor:
        value = self.values(features).sort(-1).values
        return risk.of_cells(value, edges(self.quantiles, value))

    def measure_lowest(self, features: Tensor, risk: RiskMeasure) -> Tensor:
        value, edge = self.values(features).sort(-1).values, edges(self.quantiles, features)
        # beyond the first quantile a lower second one makes the tail shorter, so the lowest of each could read higher
        return torch.minimum(risk.of_cells(value.amin(0), edge), risk.of_cells(value, edge).amin(0))

    def measure_mixture(self, features: Tensor, risk: RiskMeasure) -> Tensor:
        value = self.values(features).sort(-1).values
        return mixture.of_cells(risk, value, edges(self.quantiles, value))


@critics.register("ncqr", suffix="quantiles")
class NCQR(QR):
    """Quantile regression whose quantiles cannot cross: a middle one and positive gaps, summed outwards to both tails.

    A gap is softplus of an output, in units of the standard normal's gap at these levels.
    Paper: Zhou et al. 2020, Non-Crossing Quantile Regression for Distributional Reinforcement Learning.
    """

    def values(self, features: Tensor) -> Tensor:
        middle = self.quantiles // 2
        gap = softplus(features[..., 1:]) / math.log(2) * normal_score(self.grid(features)).diff()
        down, up = gap[..., :middle].flip(-1).cumsum(-1).flip(-1), gap[..., middle:].cumsum(-1)
        centre = features[..., :1]
        return torch.cat([centre - down, centre, centre + up], -1)
