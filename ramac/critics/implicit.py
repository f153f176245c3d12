"""Implicit quantile critics, which read any level: drawn (IQN) or learned (FQF)."""

import math

import torch
from torch import Tensor

from ramac.critics import Critic, quantile_huber
from ramac.errors import at_least, at_most
from ramac.nets import Ensemble, EnsembleLinear, EnsembleReLU
from ramac.registry import critics
from ramac.risk import RiskMeasure, between, cumulative, midpoints, mixture
from ramac.spec import Spec


@critics.register("iqn", suffix="quantiles")
class IQN(Critic):
    """Implicit quantile network: Z(s, a; tau) for any level tau, embedded by cosines; levels are stratified draws.

    Z = f(psi(s, a) * phi(tau)), phi(tau) = relu(W cos(pi i tau) + b); the loss is |tau - 1{y < Z}| |y - Z|.
    Paper: Dabney et al. 2018, Implicit Quantile Networks for Distributional Reinforcement Learning.

    Args:
        quantiles: Levels in value and target; 8 is RADAC's minimum; stratified, they are worth 32 to 64 independent
            ones.
        risk_quantiles: Levels of a risk estimate; default as in ORAAC.
        hidden: Widths of the hidden layers of the trunk; default as in RADAC.
        embedding: Width of the embedding of state and level; default as in RADAC on Hopper and Walker2d.
        head: Width of the layer after the embedding, evaluated at every level; default as in RADAC.
        cosines: Cosine features of a level; default as in IQN.
        kappa: Threshold of the Huber loss, in standard deviations of the logged returns; default as qr.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        quantiles: int = 8,
        risk_quantiles: int = 8,
        hidden: tuple[int, ...] = (256, 256),
        embedding: int = 64,
        head: int = 256,
        cosines: int = 64,
        kappa: float = 0.0,
        ensemble: int = 2,
    ) -> None:
        at_least(0, kappa=kappa)
        at_least(1, quantiles=quantiles, risk_quantiles=risk_quantiles, cosines=cosines, embedding=embedding, head=head)
        at_most(1000, quantiles=quantiles, risk_quantiles=risk_quantiles)
        super().__init__(spec, hidden=hidden, outputs=embedding, ensemble=ensemble)
        self.levels, self.risk_levels, self.cosines, self.kappa = quantiles, risk_quantiles, cosines, kappa
        self.level_embedding = EnsembleLinear(ensemble, cosines, embedding)
        self.head = EnsembleReLU(ensemble, embedding, head)

    def quantile(self, features: Tensor, level: Tensor) -> Tensor:
        # levels [B, N] are common to the members, [E, B, N] their own
        order = torch.arange(self.cosines, device=level.device, dtype=level.dtype)
        cosine = (math.pi * order * level.unsqueeze(-1)).cos().flatten(-3, -2)
        members = zip(self.level_embedding.members(), self.head.members(), strict=True)
        value = []
        for member, (state, (embed, head)) in enumerate(zip(features.unbind(), members, strict=False)):
            embedded = embed(cosine if level.dim() == 2 else cosine[member]).relu_().unflatten(0, level.shape[-2:])
            value.append(head((state.unsqueeze(-2) * embedded).flatten(0, 1)))
        return torch.stack(value).unflatten(1, level.shape[-2:]).squeeze(-1)

    def regression(self, features: Tensor, target: Tensor) -> Tensor:
        level = self.default_level(features)
        return quantile_huber(self.quantile(features, level), level, target, self.kappa)

    def measure(self, features: Tensor, risk: RiskMeasure) -> Tensor:
        draws = self.draws(features)
        return risk.of_quantiles(lambda level: self.quantile(features, level), draws)


@critics.register("fqf", suffix="quantiles")
class FQF(IQN):
    """IQN at levels that a second network places where they lower the Wasserstein distance; risk by exact cell weights.

    With fractions tau_i and midpoints m_i, dW1/dtau_i = 2 Z(tau_i) - Z(m_i) - Z(m_i-1). Targets are read at drawn
    levels: learned ones are not equally likely. Paper: Yang et al. 2019, Fully Parameterized Quantile Function.

    Args:
        quantiles: Learned levels; FQF has 32, half here for speed.
        head: As in iqn; half of iqn's 256 for speed.
        entropy: Weight of the entropy of the fractions, which keeps them from collapsing; default as in FQF.
        fraction_rate: Learning rate of the fractions, as a share of the critic's; FQF is slower
            (docs/results/critics.md).
    """

    def __init__(
        self,
        spec: Spec,
        *,
        quantiles: int = 16,
        hidden: tuple[int, ...] = (256, 256),
        embedding: int = 64,
        head: int = 128,
        cosines: int = 64,
        kappa: float = 0.0,
        ensemble: int = 2,
        entropy: float = 1e-3,
        fraction_rate: float = 0.01,
    ) -> None:
        at_least(2, quantiles=quantiles)
        at_least(0, entropy=entropy, fraction_rate=fraction_rate)
        widths = {"hidden": hidden, "embedding": embedding, "head": head, "cosines": cosines}
        super().__init__(spec, quantiles=quantiles, kappa=kappa, ensemble=ensemble, **widths)
        self.entropy, self.fraction_rate = entropy, fraction_rate
        self.fraction = Ensemble(EnsembleLinear(ensemble, embedding, quantiles))

    def cells(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Edges [E, B, N+1] of the cells, from 0 to 1, and the logarithms [E, B, N] of their probabilities."""
        logit = self.fraction_rate * self.fraction(features.detach())  # slows Adam down, whose steps have a fixed size
        log = logit.log_softmax(-1)
        return cumulative(log.exp()), log

    def quantile(self, features: Tensor, level: Tensor) -> Tensor:
        # only its own levels are trained; others are interpolated and extrapolated, as in qr
        own = midpoints(self.cells(features)[0].detach())
        return between(super().quantile(features, own), own, level)

    def regression(self, features: Tensor, target: Tensor) -> Tensor:
        edges, log = self.cells(features)
        level = midpoints(edges).detach()
        value = super().quantile(features, level)
        with torch.no_grad():
            slope = 2 * super().quantile(features, edges[..., 1:-1]) - value[..., 1:] - value[..., :-1]
        distance = (slope * edges[..., 1:-1]).sum(-1)  # its gradient is that of W1, its value is not
        entropy = -(log.exp() * log).sum(-1)
        return quantile_huber(value, level, target, self.kappa) + distance - self.entropy * entropy

    def own_cells(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Sorted values [E, B, N] in the middle of its cells, and the edges [E, B, N+1] of these."""
        edges = self.cells(features)[0].detach()
        value, order = super().quantile(features, midpoints(edges)).sort(-1)
        return value, cumulative(edges.diff(dim=-1).gather(-1, order))  # each value keeps its cell's probability

    def measure(self, features: Tensor, risk: RiskMeasure) -> Tensor:
        return risk.of_cells(*self.own_cells(features))

    def measure_mixture(self, features: Tensor, risk: RiskMeasure) -> Tensor:
        return mixture.of_cells(risk, *self.own_cells(features))
