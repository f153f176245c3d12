"""How an agent acts when it has several candidates."""

import numpy as np
import pytest
import torch

from ramac.agent import Acting, Agent
from ramac.spec import Spec


def agent_of(acting):
    """An agent whose candidates are 0, 1, 2, ... in the first coordinate, and whose critic likes 3 best."""
    agent = Agent.build({"actor": "deterministic", "critic": "mean", "risk": "neutral"}, Spec.unit(1, 1))
    agent.acting = acting

    def act(tensordict):
        shape = tensordict.batch_size
        action = torch.arange(shape[-1]).float().expand(shape).unsqueeze(-1)
        return tensordict.set("action", action)

    agent.actor.forward = act
    agent.critic.risk = lambda pairs, risk: -(pairs["action"] - 3).abs().expand(*pairs["action"].shape[:-1], 2)
    return agent


def test_the_best_candidate_is_taken():
    action = agent_of(Acting(candidates=6)).act(np.zeros((7, 1), np.float32))
    assert (action == 3).all()


def test_a_temperature_draws_by_softmax():
    torch.manual_seed(0)
    action = agent_of(Acting(candidates=6, temperature=0.8)).act(np.zeros((20_000, 1), np.float32))
    weight = np.exp(-np.abs(np.arange(6) - 3) / 0.8)
    drawn = np.bincount(action[:, 0].astype(int), minlength=6) / 20_000
    assert drawn == pytest.approx(weight / weight.sum(), abs=0.015)


def test_a_tiny_temperature_is_the_best():
    assert (agent_of(Acting(candidates=6, temperature=1e-40)).act(np.zeros((7, 1), np.float32)) == 3).all()
