"""RADAC and RAFMAC, straight from Fukazawa et al. 2026, with the settings of ramac's recipes.

A critic is a module of its own, asked with state and action repeated for each level, so the whole network runs on B N
rows; every loss makes its own forward pass.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.plain.common import GAMMA, Batch, Counted, Optimiser, critic_counts, mlp, soft_update


class ActionNet(nn.Module):
    """Noise or velocity at an action x [B, A] and a time t [B] in [0, 1], given the observation [B, O]: [B, A]."""

    def __init__(self, obs_dim: int, act_dim: int, width: int) -> None:
        super().__init__()
        self.net = mlp(obs_dim + 9 * act_dim + 16, (width,) * 3, act_dim)

    @staticmethod
    def waves(x: Tensor, count: int) -> Tensor:
        frequency = math.pi / 2 * 2.0 ** torch.arange(count, device=x.device)
        angle = (x.unsqueeze(-1) * frequency).flatten(-2)
        return torch.cat([torch.sin(angle), torch.cos(angle)], -1)

    def forward(self, x: Tensor, t: Tensor, observation: Tensor) -> Tensor:
        time = self.waves(t.unsqueeze(-1), 8)
        return self.net(torch.cat([x, self.waves(x, 4), time, observation], -1))


class Diffusion(nn.Module):
    """DDPM actor with the variance-preserving schedule of Xiao et al. 2022."""

    beta: Tensor
    kept: Tensor

    def __init__(self, obs_dim: int, act_dim: int, steps: int = 5, width: int = 256) -> None:
        super().__init__()
        self.steps, self.act_dim = steps, act_dim
        self.net = ActionNet(obs_dim, act_dim, width)
        t = torch.arange(1, steps + 1)
        self.register_buffer("beta", 1 - torch.exp(-0.1 / steps - 0.5 * 9.9 * (2 * t - 1) / steps**2))
        self.register_buffer("kept", torch.cumprod(1 - self.beta, 0))

    def sample(self, observation: Tensor) -> Tensor:
        x = torch.randn(len(observation), self.act_dim, device=observation.device, dtype=observation.dtype)
        for t in reversed(range(self.steps)):
            kept, beta = self.kept[t], self.beta[t]
            before = self.kept[t - 1] if t > 0 else torch.ones_like(kept)
            time = torch.full((len(x),), (t + 1) / self.steps, device=x.device, dtype=x.dtype)
            epsilon = self.net(x, time, observation)
            clean = ((x - torch.sqrt(1 - kept) * epsilon) / torch.sqrt(kept)).clamp(-1, 1)
            mean = torch.sqrt(before) * beta / (1 - kept) * clean
            mean = mean + torch.sqrt(1 - beta) * (1 - before) / (1 - kept) * x
            x = mean
            if t > 0:
                x = mean + torch.sqrt((1 - before) / (1 - kept) * beta) * torch.randn_like(x)
        return x.clamp(-1, 1)

    def clone_loss(self, observation: Tensor, action: Tensor) -> Tensor:
        t = torch.randint(self.steps, (len(action),), device=action.device)
        epsilon = torch.randn_like(action)
        kept = self.kept[t].unsqueeze(-1)
        noisy = torch.sqrt(kept) * action + torch.sqrt(1 - kept) * epsilon
        found = self.net(noisy, (t + 1).to(action.dtype) / self.steps, observation)
        return ((found - epsilon) ** 2).mean()


class Flow(nn.Module):
    """Flow matching actor, sampled with the midpoint rule: two evaluations a step."""

    def __init__(self, obs_dim: int, act_dim: int, steps: int = 5, width: int = 128) -> None:
        super().__init__()
        self.steps, self.act_dim = steps, act_dim
        self.net = ActionNet(obs_dim, act_dim, width)

    def sample(self, observation: Tensor) -> Tensor:
        start = torch.randn(len(observation), self.act_dim, device=observation.device, dtype=observation.dtype)
        return self.carry(start, observation)

    def carry(self, x: Tensor, observation: Tensor) -> Tensor:
        """From noise [B, A] to the action [B, A]."""
        step = 1 / self.steps
        for i in range(self.steps):
            t = torch.full((len(x),), i * step, device=x.device, dtype=x.dtype)
            half = x + step / 2 * self.net(x, t, observation)
            x = x + step * self.net(half, t + step / 2, observation)
        return x.clamp(-1, 1)

    def clone_loss(self, observation: Tensor, action: Tensor) -> Tensor:
        noise = torch.randn_like(action)
        t = torch.rand(len(action), device=action.device, dtype=action.dtype)
        x = (1 - t.unsqueeze(-1)) * noise + t.unsqueeze(-1) * action
        return ((self.net(x, t, observation) - (action - noise)) ** 2).mean()


class IQN(nn.Module):
    """One implicit quantile network: observation [B, O], action [B, A], level [B, N] -> Z [B, N]."""

    def __init__(self, obs_dim: int, act_dim: int, width: int = 256, embedding: int = 64, cosines: int = 64) -> None:
        super().__init__()
        self.cosines = cosines
        self.trunk = mlp(obs_dim + act_dim, (width, width), embedding, norm=True)
        self.embedding = nn.Sequential(nn.Linear(cosines, embedding), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(embedding, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, observation: Tensor, action: Tensor, level: Tensor) -> Tensor:
        pair = torch.cat([observation, action], -1).repeat_interleave(level.shape[1], 0)
        order = torch.arange(self.cosines, device=level.device)
        cosine = torch.cos(math.pi * order * level.reshape(-1, 1))
        return self.head(self.trunk(pair) * self.embedding(cosine)).reshape(level.shape)


def quantile_huber(value: Tensor, level: Tensor, target: Tensor, kappa: float) -> Tensor:
    """Quantile Huber loss of all pairs; value and its level [B, N], target [B, M] -> []; kappa 0: pinball."""
    error = target.unsqueeze(1) - value.unsqueeze(2)  # [B, N, M]
    size = error.abs()
    huber = size if kappa == 0 else torch.where(size < kappa, error**2 / (2 * kappa), size - kappa / 2)
    weight = (level.unsqueeze(2) - (error < 0).to(error.dtype)).abs()
    return (weight * huber).mean()


def draw_levels(rows: int, count: int, like: Tensor) -> Tensor:
    """Levels [rows, count], uniform and independent."""
    return torch.rand(rows, count, device=like.device, dtype=like.dtype)


class Plain:
    """Actor, two critics, their targets and their optimisers."""

    delay = 1

    def __init__(
        self,
        actor: Diffusion | Flow,
        critics: list[IQN],
        *,
        levels: int = 32,
        alpha: float = 0.1,
        kappa: float = 0.0,
        risk_weight: float = 0.5,
        steps: int = 1_000_000,
    ) -> None:
        self.actor, self.critics = actor, nn.ModuleList(critics)
        self.target_actor, self.target_critics = copy.deepcopy(self.actor), copy.deepcopy(self.critics)
        self.levels, self.alpha, self.kappa, self.risk_weight = levels, alpha, kappa, risk_weight
        self.actor_optimiser = Optimiser(self.actor, steps=steps)
        self.critic_optimiser = Optimiser(self.critics, steps=steps)
        nets: list[nn.Module] = [self.actor.net, self.target_actor.net]
        self.counted: Counted = [("actor", 1, nets), critic_counts(self.critics, self.target_critics)]

    def critic_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Quantile Huber loss against r + gamma (1 - terminated) min_i Z_i'(s', a'), sum over the critics."""
        with torch.no_grad():
            after = batch["next_observation"]
            action = self.target_actor.sample(after)
            level = draw_levels(len(after), self.levels, after)
            one, two = (critic(after, action, level) for critic in self.target_critics)
            target = batch["reward"] + GAMMA * (1 - batch["terminated"]) * torch.minimum(one, two)
        level = draw_levels(len(after), self.levels, after)
        values = [critic(batch["observation"], batch["action"], level) for critic in self.critics]
        losses = [quantile_huber(value, level, target, self.kappa) for value in values]
        return {"td": losses[0] + losses[1]}

    def actor_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Behaviour cloning, and minus CVaR_alpha of the lower critic at the actor's own action."""
        observation = batch["observation"]
        action = self.actor.sample(observation)
        clone = self.actor.clone_loss(observation, batch["action"])
        level = self.alpha * draw_levels(len(observation), self.levels, observation)
        one, two = (critic(observation, action, level) for critic in self.critics)
        return {"bc": clone, "risk": -torch.minimum(one, two).mean()}

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One update of critics, actor and targets."""
        losses = self.critic_losses(batch)
        self.critic_optimiser.minimise(losses["td"])
        self.critics.requires_grad_(False)  # as in Spinning Up: skips unused gradients
        losses |= self.actor_losses(batch)
        self.actor_optimiser.minimise(losses["bc"] + self.risk_weight * losses["risk"])
        self.critics.requires_grad_(True)
        soft_update(self.target_actor, self.actor)
        soft_update(self.target_critics, self.critics)
        return {name: loss.detach() for name, loss in losses.items()}


def radac(obs_dim: int, act_dim: int, device: torch.device | str = "cpu", **options: Any) -> Plain:
    """Diffusion actor of five steps and two IQN critics."""
    critics = [IQN(obs_dim, act_dim).to(device) for _ in range(2)]
    return Plain(Diffusion(obs_dim, act_dim).to(device), critics, **options)


def rafmac(obs_dim: int, act_dim: int, device: torch.device | str = "cpu", **options: Any) -> Plain:
    """Flow actor of ten evaluations and two IQN critics."""
    critics = [IQN(obs_dim, act_dim).to(device) for _ in range(2)]
    return Plain(Flow(obs_dim, act_dim).to(device), critics, **options)
