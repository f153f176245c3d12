"""TD3+BC, straight from Fujimoto & Gu 2021, with the settings of ramac's recipe."""

import copy

import torch
from torch import Tensor, nn

from benchmarks.plain.common import GAMMA, Batch, Counted, Optimiser, Q, critic_counts, mlp, soft_update


class TD3BC:
    """A deterministic actor, two critics, their targets and their optimisers; the actor moves every second update."""

    delay = 2
    noise, noise_clip, weight = 0.2, 0.5, 2.0

    def __init__(self, obs_dim: int, act_dim: int, device: torch.device | str = "cpu", steps: int = 1_000_000) -> None:
        self.actor = nn.Sequential(mlp(obs_dim, (256, 256), act_dim), nn.Tanh()).to(device)
        self.critics = nn.ModuleList([Q(obs_dim, act_dim), Q(obs_dim, act_dim)]).to(device)
        self.target_actor, self.target_critics = copy.deepcopy(self.actor), copy.deepcopy(self.critics)
        self.actor_optimiser = Optimiser(self.actor, steps=steps // self.delay)
        self.critic_optimiser = Optimiser(self.critics, steps=steps)
        self.count = 0
        actors: list[nn.Module] = [self.actor, self.target_actor]
        self.counted: Counted = [("actor", 1, actors), critic_counts(self.critics, self.target_critics)]

    def critic_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Squared error of both critics to the lower target at a noisy action."""
        with torch.no_grad():
            after = batch["next_observation"]
            action = self.target_actor(after)
            noise = (self.noise * torch.randn_like(action)).clamp(-self.noise_clip, self.noise_clip)
            action = (action + noise).clamp(-1, 1)
            one, two = (critic(after, action) for critic in self.target_critics)
            target = batch["reward"] + GAMMA * (1 - batch["terminated"]) * torch.minimum(one, two)
        one, two = (critic(batch["observation"], batch["action"]) for critic in self.critics)
        return {"td": nn.functional.mse_loss(one, target) + nn.functional.mse_loss(two, target)}

    def actor_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Squared error to the logged action, and minus the first critic at the actor's own."""
        action = self.actor(batch["observation"])
        clone = nn.functional.mse_loss(action, batch["action"])
        return {"bc": clone, "risk": -self.critics[0](batch["observation"], action).mean()}

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One update of the critics, and at every second one of actor and targets."""
        losses = self.critic_losses(batch)
        self.critic_optimiser.minimise(losses["td"])
        self.count += 1
        if self.count % self.delay == 0:
            self.critics.requires_grad_(False)
            losses |= self.actor_losses(batch)
            self.actor_optimiser.minimise(losses["bc"] + self.weight * losses["risk"])
            self.critics.requires_grad_(True)
            soft_update(self.target_actor, self.actor)
            soft_update(self.target_critics, self.critics)
        return {name: loss.detach() for name, loss in losses.items()}
