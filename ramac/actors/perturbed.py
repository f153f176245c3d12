"""A conditional variational autoencoder, and a bounded perturbation of any prior policy."""

import torch
from torch import Tensor

from ramac.actors import Actor
from ramac.nets import mlp
from ramac.registry import actors
from ramac.spec import Spec


@actors.register("vae")
class VAE(Actor):
    """Conditional variational autoencoder of actions; bc is its negative evidence lower bound, squared error + KL / 2.

    Latents are drawn from a standard normal and clipped. Paper: Fujimoto et al. 2019, BCQ; Urpi et al. 2021, O-RAAC.

    Args:
        hidden: Widths of the hidden layers of encoder and decoder; BCQ has (750, 750), fewer here for speed.
        clip: Latents are clipped to [-clip, clip], in standard deviations; default as in BCQ and O-RAAC.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        hidden: tuple[int, ...] = (256, 256),
        clip: float = 0.5,
    ) -> None:
        super().__init__(spec)
        if not clip >= 0:
            raise ValueError(f"clip must not be negative, got {clip}")
        self.clip, self.latent = clip, 2 * spec.act_dim  # BCQ
        self.encoder = mlp(spec.obs_dim + spec.act_dim, hidden, 2 * self.latent)
        self.decoder = mlp(spec.obs_dim + self.latent, hidden, spec.act_dim)

    def decode(self, observation: Tensor, latent: Tensor) -> Tensor:
        """observation [B, O], latent [B, 2 A] -> action [B, A]."""
        return self.decoder(torch.cat([observation, latent], -1)).tanh()

    def sample(self, observation: Tensor) -> Tensor:
        latent = torch.randn(observation.shape[0], self.latent, device=observation.device, dtype=observation.dtype)
        return self.decode(observation, latent.clamp(-self.clip, self.clip))

    def mode(self, observation: Tensor) -> Tensor:
        return self.decode(observation, observation.new_zeros(observation.shape[0], self.latent))

    def clone(self, observation: Tensor, action: Tensor) -> Tensor:
        mean, log_std = self.encoder(torch.cat([observation, action], -1)).chunk(2, -1)
        log_std = log_std.clamp(-4, 15)  # BCQ
        latent = mean + log_std.exp() * torch.randn_like(mean)
        divergence = -0.5 * (1 + 2 * log_std - mean.square() - (2 * log_std).exp())
        return (self.decode(observation, latent) - action).square().mean(-1) + 0.5 * divergence.mean(-1)


@actors.register("perturbed")
class Perturbed(Actor):
    """A prior's action plus a bounded correction, a = clip(b + bound tanh xi(s, b)), b from the prior without gradient.

    bc trains the prior, `risk` the correction.
    Paper: Urpi et al. 2021, Risk-Averse Offline Reinforcement Learning (O-RAAC).

    Args:
        prior: Any actor, with its number: vae, ddpm20, flow; default as in O-RAAC.
        bound: Largest correction per coordinate of the action box [-1, 1]; O-RAAC has 0.25 to 0.5 by task.
        hidden: Widths of the hidden layers of the correction; default as gaussian.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        prior: str = "vae",
        bound: float = 0.25,
        hidden: tuple[int, ...] = (256, 256),
    ) -> None:
        super().__init__(spec)
        if not 0 < bound <= 2:
            raise ValueError(f"bound must be in (0, 2], because the action box is 2 wide, got {bound}")
        if actors.parse(prior)[0] == "perturbed":
            raise ValueError("prior must be another actor than perturbed")
        self.prior: Actor = actors.build(prior, spec)
        if self.prior.trained_by:
            raise ValueError(f"prior={prior} would need {self.prior.trained_by[0]}, which does not train a prior")
        self.bound = bound
        self.correction = mlp(spec.obs_dim + spec.act_dim, hidden, spec.act_dim)
        for parameter in self.correction[-1].parameters():  # the correction starts at zero
            torch.nn.init.zeros_(parameter)

    def correct(self, observation: Tensor, action: Tensor) -> Tensor:
        """The prior's action [B, A] -> the corrected one [B, A]."""
        moved = self.bound * self.correction(torch.cat([observation, action], -1)).tanh()
        return (action + moved).clamp(-1, 1)

    def sample(self, observation: Tensor) -> Tensor:
        with torch.no_grad():
            action = self.prior.sample(observation)
        return self.correct(observation, action)

    def mode(self, observation: Tensor) -> Tensor:
        with torch.no_grad():
            action = self.prior.mode(observation)
        return self.correct(observation, action)

    def clone(self, observation: Tensor, action: Tensor) -> Tensor:
        return self.prior.clone(observation, action)
