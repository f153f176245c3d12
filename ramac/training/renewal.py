"""Renew the utility of a risk measure of whole episodes, from the returns that the critic knows at their starts."""

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor

from ramac.agent import Agent
from ramac.data import Log
from ramac.data.context import widest_shift
from ramac.risk import edges, midpoints
from ramac.risk.episode import Episode
from ramac.training.trainer import Trainer

STARTS = 64  # first observations, evenly spaced in the data
SHIFTS = 17  # rewards so far at the start that are tried, evenly spaced
LEVELS = 100  # quantiles of each


def renew_utility(trainer: Trainer, log: Log, gamma: float) -> None:
    """Let `trainer` renew the thresholds of its risk measure, if it is of whole episodes.

    At first they are quantiles of the logged returns. The observations of `log` have the reward so far.
    """
    risk, target = trainer.agent.risk, trainer.target
    if not isinstance(risk, Episode):
        return
    device, widest = trainer.step.device, widest_shift(log, gamma)
    logged = target.critic.scaling.to_standard(torch.from_numpy(log.logged_returns(gamma)[log.start]).to(device))
    for one in (risk, cast("Episode", target.risk)):
        one.gamma.fill_(gamma)
        one.widest.fill_(widest)
        one.renew([logged] * len(one.threshold))
    chosen = np.linspace(0, len(log.start) - 1, min(STARTS, len(log.start))).astype(int)
    few = torch.from_numpy(log.observation[log.start[chosen]]).to(device)

    every = max(1, trainer.steps // (risk.renewals + 1))

    def renew() -> None:
        if trainer.step_count <= risk.renewals * every:  # after the last, the policy has as long to follow
            risk.renew([best_returns(target, few, value, widest) for value in risk.grid()])

    trainer.hooks.append((every, renew))


@torch.no_grad()
def best_returns(agent: Agent, start: Tensor, dials: Mapping[str, float], widest: float) -> Tensor:
    """Standardised returns [M] from first observations [S, O], at the shift where their risk measure is highest."""
    shifted = start.repeat(SHIFTS, 1)
    shift = torch.linspace(-widest, widest, SHIFTS, device=start.device, dtype=start.dtype)
    shifted[:, -2] += shift.repeat_interleave(len(start))
    returns = whole_returns(agent, agent.complete(shifted, dials)).view(SHIFTS, -1)
    return returns[agent.risk.whole.dialled(dials).of_samples(returns).argmax()]


@torch.no_grad()
def whole_returns(agent: Agent, state: Tensor) -> Tensor:
    """Standardised returns from observations [S, O], the lowest member's at N equally likely levels: [S, N].

    As for the choice among candidates: of several shifts the mean's best would be the most overestimated.
    """
    pairs = agent.actor(TensorDict({"observation": state}, state.shape[:1]), mode=False)
    level = midpoints(edges(LEVELS, agent.actor.scaling.half_width)).expand(len(state), -1)
    return agent.critic.standard_values(pairs, level)[1].amin(0)
