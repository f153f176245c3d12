"""Unimodal baselines: a tanh-squashed Gaussian and a deterministic actor."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from ramac.actors import Actor, in_squared_error
from ramac.nets import mlp
from ramac.registry import actors
from ramac.spec import Spec


@actors.register("gaussian")
class Gaussian(Actor):
    """Tanh-squashed Gaussian a = tanh(mu(s) + sigma(s) xi); bc is -log pi(a|s) in the unit of a squared error.

    Paper: Haarnoja et al. 2018, Soft Actor-Critic.

    Args:
        beta: Power of the variance in the weight of each bc loss; 1 gives the other actors' unit, IQL has 0: -2 log pi
            per dimension.
        hidden: Widths of the hidden layers; default as in SAC and CODAC.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        beta: float = 1.0,
        hidden: tuple[int, ...] = (256, 256),
    ) -> None:
        super().__init__(spec)
        if not 0 <= beta <= 1:
            raise ValueError(f"beta must be in [0, 1], got {beta}")
        self.beta = beta
        self.net = mlp(spec.obs_dim, hidden, 2 * spec.act_dim)

    def distribution(self, observation: Tensor) -> TransformedDistribution:
        """Distribution of the action, per dimension: batch shape [B, A]."""
        mean, log_std = self.net(observation).chunk(2, dim=-1)
        log_std = log_std.clamp(-5, 2)  # range of CleanRL's SAC
        normal = Normal(mean, log_std.exp(), validate_args=False)
        return TransformedDistribution(normal, [TanhTransform(cache_size=1)], validate_args=False)

    def sample(self, observation: Tensor) -> Tensor:
        return self.draw(self.distribution(observation))

    @staticmethod
    def draw(distribution: TransformedDistribution) -> Tensor:
        """A reparameterised draw [B, A]."""
        normal, (tanh,) = distribution.base_dist, distribution.transforms
        action: Any = tanh(normal.mean + normal.stddev * torch.randn_like(normal.mean))
        return action

    def sample_with_log_prob(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        distribution = self.distribution(observation)
        action = self.draw(distribution)
        return action, distribution.log_prob(action).sum(-1)  # the transform caches the value before tanh

    def mode(self, observation: Tensor) -> Tensor:
        return self.net(observation).chunk(2, dim=-1)[0].tanh()

    def clone(self, observation: Tensor, action: Tensor) -> Tensor:
        distribution = self.distribution(observation)
        normal: Any = distribution.base_dist
        slope = 1 - normal.mean.tanh().square()  # of tanh at the mean
        # logged actions on the boundary have an infinite pre-image; 0.999 maps to 3.8 instead
        log_prob = distribution.log_prob(action.clamp(-0.999, 0.999))
        return in_squared_error(log_prob, (slope * normal.stddev).square().clamp(max=1), self.beta).mean(-1)


@actors.register("deterministic")
class Deterministic(Actor):
    """One action per state, a = tanh(mu(s)); bc is the squared error.

    Paper: Fujimoto & Gu 2021, TD3+BC.

    Args:
        hidden: Widths of the hidden layers; default as in TD3+BC.
    """

    def __init__(self, spec: Spec, *, hidden: tuple[int, ...] = (256, 256)) -> None:
        super().__init__(spec)
        self.net = mlp(spec.obs_dim, hidden, spec.act_dim)

    def sample(self, observation: Tensor) -> Tensor:
        return self.net(observation).tanh()

    def clone(self, observation: Tensor, action: Tensor) -> Tensor:
        return (self.sample(observation) - action).square().mean(-1)
