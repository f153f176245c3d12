"""IQL, straight from Kostrikov et al. 2022, with the settings of ramac's recipe."""

import copy
import math

import torch
from torch import Tensor, nn

from benchmarks.plain.common import GAMMA, Batch, Counted, Optimiser, Q, critic_counts, mlp, soft_update


class IQL:
    """A tanh-Gaussian actor, a value, two critics, the critics' targets and the optimisers."""

    delay = 1
    expectile, effective_share, most = 0.7, 0.5, 100.0

    def __init__(self, obs_dim: int, act_dim: int, device: torch.device | str = "cpu", steps: int = 1_000_000) -> None:
        self.actor = mlp(obs_dim, (256, 256), 2 * act_dim).to(device)
        self.value = mlp(obs_dim, (256, 256), 1).to(device)
        self.critics = nn.ModuleList([Q(obs_dim, act_dim), Q(obs_dim, act_dim)]).to(device)
        self.target_critics = copy.deepcopy(self.critics)
        self.actor_optimiser = Optimiser(self.actor, steps=steps)
        self.critic_optimiser = Optimiser(self.critics, self.value, steps=steps)
        critics = critic_counts(self.critics, self.target_critics)
        self.counted: Counted = [("actor", 1, [self.actor]), ("value", 1, [self.value]), critics]

    def lower_target(self, batch: Batch) -> Tensor:
        """The lower target critic at the logged action: [B, 1]."""
        with torch.no_grad():
            one, two = (critic(batch["observation"], batch["action"]) for critic in self.target_critics)
            return torch.minimum(one, two)

    def critic_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Squared error of both critics to r + gamma V(s'), and V's expectile regression on the lower target critic."""
        with torch.no_grad():
            target = batch["reward"] + GAMMA * (1 - batch["terminated"]) * self.value(batch["next_observation"])
        one, two = (critic(batch["observation"], batch["action"]) for critic in self.critics)
        td = nn.functional.mse_loss(one, target) + nn.functional.mse_loss(two, target)
        difference = self.lower_target(batch) - self.value(batch["observation"])
        weight = torch.where(difference > 0, self.expectile, 1 - self.expectile)
        return {"td": td, "iql": (weight * difference**2).mean()}

    def log_prob(self, observation: Tensor, action: Tensor) -> Tensor:
        """Log density of each number of the action: [B, A]."""
        mean, log_std = self.actor(observation).chunk(2, -1)
        log_std = log_std.clamp(-5, 2)
        action = action.clamp(-0.999, 0.999)
        standard = (torch.atanh(action) - mean) / log_std.exp()
        return -(standard**2) / 2 - log_std - math.log(2 * math.pi) / 2 - torch.log(1 - action**2)

    def actor_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Likelihood weighted by the exponential of advantages, of which the share `effective_share` counts."""
        with torch.no_grad():
            advantage = self.lower_target(batch) - self.value(batch["observation"])
            scale = math.sqrt(-math.log(self.effective_share)) / advantage.std(correction=0)
            weight = torch.exp(scale * (advantage - advantage.mean())).clamp(max=self.most)
        clone = -2 * self.log_prob(batch["observation"], batch["action"]).mean(-1, keepdim=True)
        return {"awr": (weight * clone).mean()}

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One update of critics and value, of the actor, and of the targets."""
        losses = self.critic_losses(batch)
        self.critic_optimiser.minimise(losses["td"] + losses["iql"])
        losses |= self.actor_losses(batch)
        self.actor_optimiser.minimise(losses["awr"])
        soft_update(self.target_critics, self.critics)
        return {name: loss.detach() for name, loss in losses.items()}
