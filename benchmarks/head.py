"""A critic that has learned something: IQN after some updates on data with a rare hazard."""

import torch
from tensordict import TensorDict
from torch import Tensor

from benchmarks.updates import data, levels, ramac_trainer
from ramac.losses import pair_of
from ramac.training.trainer import Trainer

GRID, STATES = 2000, 16


def structured(count: int = 20_000, device: str | torch.device = "cpu") -> TensorDict:
    """Random transitions whose reward falls with the distance to a best action; one in twenty costs ten."""
    logged = data(count, device)
    draw = torch.Generator().manual_seed(1)
    best = torch.tanh(logged["observation"][:, : logged["action"].shape[1]])
    hazard = (torch.rand(count, 1, generator=draw) < 0.05).to(best)
    logged["next", "reward"] = 1 - (logged["action"] - best).square().mean(-1, keepdim=True) - 10 * hazard
    return logged


def trained(logged: TensorDict, updates: int) -> Trainer:
    """RADAC on these data after so many updates, with a horizon of about two steps: returns that settle soon."""
    trainer = ramac_trainer(["recipe=radac", *levels(8), "loss.td.gamma=0.5"], logged)
    for _ in range(updates):
        trainer.update(trainer.batch())
    return trainer


@torch.no_grad()
def learned_quantiles(trainer: Trainer) -> Tensor:
    """Z of the first member at the middles of equal cells, for some logged pairs: [STATES, GRID], of deviation 1."""
    critic = trainer.agent.critic
    features = critic.features(pair_of(trainer.data[:STATES]))
    level = (torch.arange(GRID, device=features.device, dtype=features.dtype) + 0.5) / GRID
    value = critic.quantile(features, level.expand(STATES, -1))[0].double().cpu()
    return value / value.std(-1, keepdim=True)
