"""How far the gradient of the critic's loss is from that of very many levels, by how levels are drawn."""

import torch
from tensordict import TensorDict
from torch import Tensor

from benchmarks.contenders import Row
from benchmarks.draws import KINDS
from benchmarks.options import Settings
from ramac.critics import quantile_huber
from ramac.losses import draw, pair_of
from ramac.training.trainer import Trainer

GAMMA = 0.5  # as the critic was trained
MANY = 64
COUNTS = (4, 6, 8, 10, 12, 16, 20, 24, 32, 64)


def gradient(trainer: Trainer, batch: TensorDict, after: TensorDict, kind: str, count: int) -> Tensor:
    """Gradient of TD's loss, as one vector, for given next actions and `count` drawn levels of value and of target."""
    critic, target = trainer.agent.critic, trainer.target.critic
    with torch.no_grad():
        features = target.features(after)
        values = target.quantile(features, KINDS[kind](len(batch), count, features)).amin(0)
        going = ~batch["next", "terminated"]
        returns = batch["next", "reward"] + GAMMA * going * values
    features = critic.features(pair_of(batch))
    level = KINDS[kind](len(batch), count, features)
    kappa = float(getattr(critic, "kappa", 0.0))
    loss = quantile_huber(critic.quantile(features, level), level, returns, kappa).sum(0).mean()
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(critic.parameters()))])


def fixed(trainer: Trainer) -> tuple[TensorDict, TensorDict]:
    """A batch, and its next observations with an action of the averaged actor: both kept for all draws of levels."""
    batch = trainer.batch()
    with torch.no_grad():
        return batch, draw(trainer.target.actor, batch["next", "observation"])


def measure_gradient(trainer: Trainer, settings: Settings) -> list[Row]:
    """Root mean square deviation over the norm of the many-level gradient, on one batch.

    The last row is the deviation that the batch makes: between batches, with many levels, from the mean of them.
    """
    draws = 5 if settings.short else 60
    batch, after = fixed(trainer)
    mean = torch.stack([gradient(trainer, batch, after, "stratified", MANY) for _ in range(2 * draws)]).mean(0)

    def deviation(found: list[Tensor], centre: Tensor) -> float:
        return float(((torch.stack(found) - centre).square().sum(-1).mean().sqrt()) / mean.norm())

    rows: list[Row] = []
    for kind in KINDS:
        for count in COUNTS:
            found = [gradient(trainer, batch, after, kind, count) for _ in range(draws)]
            rows.append({"kind": kind, "levels": count, "deviation": deviation(found, mean)})
    others = [gradient(trainer, *fixed(trainer), "stratified", MANY) for _ in range(draws)]
    rows.append({"kind": "other batches", "levels": MANY, "deviation": deviation(others, torch.stack(others).mean(0))})
    return rows


def equal_gradient(rows: list[Row], count: int) -> int:
    """The fewest stratified levels of the table whose deviation is at most that of `count` independent ones."""
    aim = next(row["deviation"] for row in rows if row["kind"] == "independent" and row["levels"] == count)
    enough = [row["levels"] for row in rows if row["kind"] == "stratified" and row["deviation"] <= aim]
    return min(enough, default=count)
