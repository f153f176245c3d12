"""Risk measures that are not distortions: a utility or a minimiser takes the place of weights of levels."""

import torch
from torch import Tensor

from ramac.registry import risks
from ramac.risk import RiskMeasure, finite


@risks.register("entropic", suffix="beta")
class Entropic(RiskMeasure):
    """-(1/beta) log E exp(-beta Z); beta > 0 is risk-averse, beta -> 0 the mean. Not positively homogeneous.

    Critics measure standardised returns, so `beta` counts per standard deviation of the logged returns.
    Paper: Foellmer & Schied 2002, Convex Measures of Risk.

    Args:
        beta: Risk aversion per standard deviation of the logged returns; 1 lowers a standard normal by 1/2.
    """

    def __init__(self, *, beta: float = 1.0) -> None:
        super().__init__()
        if finite("beta", beta) == 0:
            raise ValueError("beta must not be 0; risk=neutral is the mean")
        self.beta, self.averse = beta, beta > 0

    def forward(self, value: Tensor, edges: Tensor) -> Tensor:
        probability = edges.diff(dim=-1).clamp_min(torch.finfo(edges.dtype).tiny)
        total = torch.logsumexp(probability.log() - self.beta * value, -1, keepdim=True)
        return (-total / self.beta).squeeze(-1)


@risks.register("expectile", suffix="level")
class Expectile(RiskMeasure):
    """The e where level E[(Z - e)+] = (1 - level) E[(e - Z)+]; level < 1/2 is risk-averse and coherent, 1/2 the mean.

    Paper: Bellini et al. 2014, Generalized Quantiles as Risk Measures.

    Args:
        level: Level in (0, 1); 0.1 as alpha of cvar.
    """

    def __init__(self, *, level: float = 0.1) -> None:
        super().__init__()
        if not 0 < level < 1:
            raise ValueError(f"level must be in (0, 1), got {level}")
        self.level, self.averse = level, level <= 0.5

    def forward(self, value: Tensor, edges: Tensor) -> Tensor:
        # dual representation: weigh the lowest k atoms by 1 - level and the others by level; the weighted mean is e at
        # the right k, and at any other k it is above e (level <= 1/2) or below it
        below = edges[..., 1:]
        part = (value * edges.diff(dim=-1)).cumsum(-1)
        weighed = self.level * part[..., -1:] + (1 - 2 * self.level) * part
        mean = weighed / (self.level + (1 - 2 * self.level) * below)
        return mean.amin(-1) if self.averse else mean.amax(-1)
