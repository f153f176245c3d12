"""Scalar critic: the mean return only."""

from torch import Tensor

from ramac.critics import Critic
from ramac.registry import critics
from ramac.risk import RiskMeasure
from ramac.spec import Spec


@critics.register("mean")
class Mean(Critic):
    """Scalar Q(s, a) = E[Z(s, a)] by squared error; every risk measure reads as this mean.

    Paper: Fujimoto et al. 2018, Addressing Function Approximation Error in Actor-Critic Methods.

    Args:
        hidden: Widths of the hidden layers; default as in TD3.
        ensemble: Critics trained side by side; default as in TD3.
    """

    levels = 1
    distributional = False

    def __init__(self, spec: Spec, *, hidden: tuple[int, ...] = (256, 256), ensemble: int = 2) -> None:
        super().__init__(spec, hidden=hidden, outputs=1, ensemble=ensemble)

    def quantile(self, features: Tensor, level: Tensor) -> Tensor:
        return features.expand(-1, -1, level.shape[-1])

    def regression(self, features: Tensor, target: Tensor) -> Tensor:
        return (features.squeeze(-1) - target.mean(-1)).square()

    def measure(self, features: Tensor, risk: RiskMeasure) -> Tensor:
        return features.squeeze(-1)
