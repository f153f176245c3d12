"""Quantile critics: a fixed grid of quantiles (QR) and a network that is asked for any level (IQN)."""

import math

import torch
from torch import Tensor, nn

from ramac.critics import Critic, quantile_huber
from ramac.errors import at_least
from ramac.nets import EnsembleLinear
from ramac.registry import critics
from ramac.risk import RiskMeasure, edges, stratified
from ramac.spec import Spec


@critics.register("qr", number="quantiles")
class QR(Critic):
    """Quantile regression: N quantiles at the midpoints (2i-1)/2N; risk by the exact weights of the cells.

    Paper: Dabney et al. 2018, Distributional Reinforcement Learning with Quantile Regression.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        quantiles: int = 50,  # ACSRM (Moghimi & Ku 2025): 5 cells below level 0.1
        hidden: tuple[int, ...] = (256, 256),  # CODAC
        kappa: float = 0.01,  # in standard deviations of the return; 1 would bias CVaR_0.1 by 20 % (docs/bandit.md)
        ensemble: int = 2,  # RADAC
    ) -> None:
        at_least(0, kappa=kappa)
        at_least(1, quantiles=quantiles)
        super().__init__(spec, hidden=hidden, outputs=quantiles, ensemble=ensemble)
        self.levels, self.kappa = quantiles, kappa

    def quantile(self, features: Tensor, level: Tensor) -> Tensor:
        value = features.sort(-1).values  # crossing quantiles rearranged: never further from the truth
        position = (level * self.levels - 0.5).clamp(0, self.levels - 1)
        below = position.floor().long().clamp(max=max(self.levels - 2, 0)).expand(*value.shape[:-1], -1)
        above = (below + 1).clamp(max=self.levels - 1)
        return torch.lerp(value.gather(-1, below), value.gather(-1, above), position - below)

    def regression(self, features: Tensor, target: Tensor) -> Tensor:
        return quantile_huber(features, self.default_level(features), target, self.kappa)

    def measure(self, features: Tensor, risk: RiskMeasure) -> Tensor:
        return risk(features.sort(-1).values, edges(self.levels, features))


@critics.register("iqn", number="quantiles")
class IQN(Critic):
    """Implicit quantile network: Z(s, a; tau) for any level tau, embedded by cosines; levels are stratified draws.

    Paper: Dabney et al. 2018, Implicit Quantile Networks for Distributional Reinforcement Learning.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        quantiles: int = 8,  # of value and of target: RADAC's least; stratified, worth 32-64 plain ones
        risk_quantiles: int = 8,  # levels of a risk estimate: ORAAC
        hidden: tuple[int, ...] = (256, 256),  # RADAC
        embedding: int = 64,  # RADAC on Hopper and Walker2d
        cosines: int = 64,  # IQN
        kappa: float = 0.01,  # as in qr
        ensemble: int = 2,  # RADAC
    ) -> None:
        at_least(0, kappa=kappa)
        at_least(1, quantiles=quantiles, risk_quantiles=risk_quantiles, cosines=cosines, embedding=embedding)
        super().__init__(spec, hidden=hidden, outputs=embedding, ensemble=ensemble)
        self.levels, self.risk_quantiles, self.cosines, self.kappa = quantiles, risk_quantiles, cosines, kappa
        self.level_embedding = EnsembleLinear(ensemble, cosines, embedding)
        self.head = nn.Sequential(EnsembleLinear(ensemble, embedding, 256), nn.ReLU(), EnsembleLinear(ensemble, 256, 1))

    def default_level(self, features: Tensor) -> Tensor:
        return stratified((features.shape[1],), self.levels, features)

    def quantile(self, features: Tensor, level: Tensor) -> Tensor:
        members, rows, width = features.shape
        order = torch.arange(self.cosines, device=level.device, dtype=level.dtype)
        cosine = (math.pi * order * level.unsqueeze(-1)).cos().reshape(1, -1, self.cosines)
        embedded = self.level_embedding(cosine.expand(members, -1, -1)).relu().reshape(members, rows, -1, width)
        return self.head((features.unsqueeze(-2) * embedded).reshape(members, -1, width)).reshape(members, rows, -1)

    def regression(self, features: Tensor, target: Tensor) -> Tensor:
        level = self.default_level(features)
        return quantile_huber(self.quantile(features, level), level, target, self.kappa)

    def measure(self, features: Tensor, risk: RiskMeasure) -> Tensor:
        draws = stratified((features.shape[1],), self.risk_quantiles, features)
        return self.quantile(features, risk.level(draws)).mean(-1)
