"""Renew the utility of a risk measure of whole episodes, from the returns that the critic knows at their starts."""

from collections.abc import Mapping
from typing import cast

import torch
from tensordict import TensorDict
from torch import Tensor

from ramac.agent import Agent
from ramac.risk import edges, midpoints
from ramac.risk.episode import Episode
from ramac.training.trainer import Trainer

STARTS = 256  # first observations, evenly spaced in the data
LEVELS = 100  # quantiles of each


def renew_utility(trainer: Trainer, start: Tensor, logged: Tensor, gamma: float) -> None:
    """Let `trainer` renew the thresholds of its risk measure; at first they are those of the logged returns.

    `start` [S, O]: first observations of the logged episodes, with the reward so far and the discount. `logged` [S]:
    discounted returns of these episodes, in reward units.
    """
    risk, target = cast("Episode", trainer.agent.risk), trainer.target
    for one in (risk, cast("Episode", target.risk)):
        one.gamma.fill_(gamma)
        one.renew([target.critic.scaling.to_standard(logged)] * len(one.threshold))
    few = start[torch.linspace(0, len(start) - 1, min(STARTS, len(start)), device=start.device).long()]

    def renew() -> None:
        risk.renew([whole_returns(target, few, value) for value in risk.grid()])

    trainer.hooks.append((max(1, trainer.steps // (risk.renewals + 1)), renew))


@torch.no_grad()
def whole_returns(agent: Agent, start: Tensor, dials: Mapping[str, float]) -> Tensor:
    """Standardised returns from first observations [S, O] by the ensemble's mean at equally likely levels: [S N]."""
    state = agent.complete(start, dials)
    pairs = agent.actor(TensorDict({"observation": state}, state.shape[:1]), mode=False)
    level = midpoints(edges(LEVELS, agent.actor.scaling.half_width)).expand(len(state), -1)
    return agent.critic.standard_values(pairs, level)[1].mean(0).flatten()
