"""Mixture density network: several tanh-squashed Gaussians and their probabilities."""

import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.nn.functional import gumbel_softmax, log_softmax, softplus

from ramac.actors import Actor, in_squared_error
from ramac.errors import at_least
from ramac.nets import mlp
from ramac.registry import actors
from ramac.spec import Spec


@actors.register("mixture", suffix="components")
class Mixture(Actor):
    """K tanh-squashed Gaussians with learned probabilities; bc is -log pi(a|s) in the unit of a squared error.

    A sample comes from one component; the probabilities get their gradient by straight-through
    Gumbel-softmax (Jang et al. 2017).
    Paper: Bishop 1994, Mixture Density Networks.

    Args:
        components: Gaussians per state; 8 are enough for the bandit's ring.
        beta: As in gaussian, for the variance of the whole mixture, averaged over dimensions.
        hidden: Widths of the hidden layers; default as gaussian.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        components: int = 8,
        beta: float = 1.0,
        hidden: tuple[int, ...] = (256, 256),
    ) -> None:
        super().__init__(spec)
        at_least(1, components=components)
        if not 0 <= beta <= 1:
            raise ValueError(f"beta must be in [0, 1], got {beta}")
        self.components, self.beta = components, beta
        self.net = mlp(spec.obs_dim, hidden, components * (2 * spec.act_dim + 1))

    def parts(self, observation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [B, K], means [B, K, A] and standard deviations [B, K, A] before the tanh."""
        out = self.net(observation).unflatten(-1, (self.components, -1))
        mean, log_std = out[..., 1:].chunk(2, dim=-1)
        return out[..., 0], mean, log_std.clamp(-5, 2).exp()  # as gaussian

    def log_prob(self, parts: tuple[Tensor, Tensor, Tensor], before: Tensor) -> Tensor:
        """Log density [B] of tanh(before), before [B, A]."""
        logits, mean, std = parts
        normal = Independent(Normal(mean, std, validate_args=False), 1, validate_args=False)
        density = MixtureSameFamily(Categorical(logits=logits, validate_args=False), normal, validate_args=False)
        # log(1 - tanh(x)^2) without cancellation
        slope = 2 * (0.6931471805599453 - before - softplus(-2 * before))
        return density.log_prob(before) - slope.sum(-1)

    def before_tanh(self, parts: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """One draw [B, A]."""
        logits, mean, std = parts
        choice = gumbel_softmax(log_softmax(logits, -1), hard=True).unsqueeze(-1)
        return (choice * (mean + std * torch.randn_like(mean))).sum(1)

    def sample(self, observation: Tensor) -> Tensor:
        return self.before_tanh(self.parts(observation)).tanh()

    def sample_with_log_prob(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        parts = self.parts(observation)
        before = self.before_tanh(parts)
        return before.tanh(), self.log_prob(parts, before)

    def mode(self, observation: Tensor) -> Tensor:
        logits, mean, _ = self.parts(observation)
        return mean[torch.arange(mean.shape[0], device=mean.device), logits.argmax(-1)].tanh()

    def clone(self, observation: Tensor, action: Tensor) -> Tensor:
        parts = self.parts(observation)
        log_prob = self.log_prob(parts, action.clamp(-0.999, 0.999).atanh()) / self.data_spec.act_dim  # as gaussian
        return in_squared_error(log_prob, self.variance(parts), self.beta)

    def variance(self, parts: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Variance of the action to first order in the components' deviations, mean over dimensions: [B]."""
        logits, mean, std = parts
        share, centre = logits.softmax(-1).unsqueeze(-1), mean.tanh()
        inside = ((1 - centre.square()) * std).square().clamp(max=1)
        middle = (share * centre).sum(1, keepdim=True)
        return (share * (inside + (centre - middle).square())).sum(1).mean(-1)
