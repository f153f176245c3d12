"""What the plain recipes share: batches, networks, optimisers and averages."""

from typing import Protocol

import torch
from torch import Tensor, nn

# observation [B, O], action [B, A], reward [B, 1], next_observation [B, O], terminated [B, 1]
Batch = dict[str, Tensor]
# a kind of network, the share of an evaluation that each of them counts, and modules that are called once per one
Counted = list[tuple[str, float, list[nn.Module]]]

GAMMA = 0.99
DECAY = 0.995  # of the averages


class Method(Protocol):
    """A recipe: losses, and an update on a batch."""

    counted: Counted
    delay: int  # updates per update of the actor

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One update of all networks; returns the losses []."""
        ...


def mlp(inputs: int, hidden: tuple[int, ...], outputs: int, *, norm: bool = False) -> nn.Sequential:
    """Fully connected network with SiLU, and with layer normalisation where asked."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers.append(nn.Linear(inputs, width))
        layers += [nn.LayerNorm(width, elementwise_affine=False)] if norm else []
        layers.append(nn.SiLU())
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


class Q(nn.Module):
    """One critic: observation [B, O], action [B, A] -> expected return [B, 1]."""

    def __init__(self, obs_dim: int, act_dim: int) -> None:
        super().__init__()
        self.trunk = mlp(obs_dim + act_dim, (256, 256), 1, norm=True)

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        return self.trunk(torch.cat([observation, action], -1))


def critic_counts(*ensembles: nn.ModuleList) -> tuple[str, float, list[nn.Module]]:
    """The entry of `Counted` for ensembles of two critics, of which each is half an evaluation."""
    return "critic", 1 / 2, [critic.get_submodule("trunk") for ensemble in ensembles for critic in ensemble]


class Optimiser:
    """Adam with a cosine schedule and a clipped gradient."""

    def __init__(self, *modules: nn.Module, steps: int, learning_rate: float = 1e-3, clip: float = 5.0) -> None:
        self.parameters = [parameter for module in modules for parameter in module.parameters()]
        self.adam, self.clip = torch.optim.Adam(self.parameters, learning_rate), clip
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.adam, steps)

    def minimise(self, loss: Tensor) -> None:
        """One step down the gradient of the loss []."""
        self.adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.adam.step()
        self.schedule.step()


def soft_update(target: nn.Module, source: nn.Module) -> None:
    """Move the target's parameters towards the source's."""
    for old, new in zip(target.parameters(), source.parameters(), strict=True):
        old.data.copy_(DECAY * old.data + (1 - DECAY) * new.data)
