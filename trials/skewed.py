"""A return with a rare bad tail, its exact quantiles, and a fit of a critic to draws of it."""

import torch
from scipy.optimize import brentq
from scipy.stats import norm
from tensordict import TensorDict

from ramac.critics import Critic
from ramac.spec import Spec

SPEC = Spec(1, 1, (-1.0,), (1.0,), (0.0,), (1.0,), 4.5, 4.9, (-14.0, 10.0))  # returns like those of `skewed`
LEVELS = torch.tensor([0.02, 0.05, 0.2, 0.5, 0.8, 0.95])


def skewed(*shape: int) -> torch.Tensor:
    """Mixture 0.1 N(-10, 1) + 0.9 N(6, 1): a rare bad tail."""
    return torch.where(torch.rand(*shape) < 0.1, -10.0, 6.0) + torch.randn(*shape)


def skewed_cdf(z: float) -> float:
    """Distribution function of `skewed`."""
    return 0.1 * norm.cdf(z + 10) + 0.9 * norm.cdf(z - 6)


def skewed_quantile(level: float) -> float:
    """Quantile function of `skewed`."""
    return brentq(lambda z: skewed_cdf(z) - level, -20, 20)


def fit(critic: Critic, updates: int = 1200) -> TensorDict:
    """Regress on single draws, as temporal differences do. Returns 64 copies of the one state-action pair."""
    pair = TensorDict({"observation": torch.zeros(64, 1), "action": torch.zeros(64, 1)}, [64])
    optimiser = torch.optim.Adam(critic.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
    for _ in range(updates):
        optimiser.zero_grad()
        critic.regress(pair[:16], skewed(16, 32)).mean().backward()  # 16 rows: all rows are the same pair
        optimiser.step()
        schedule.step()
    return pair
