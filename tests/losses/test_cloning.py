"""Weighted cloning against plain formulas."""

import math

import pytest
import torch

from ramac.composite import CompositeLoss
from ramac.errors import InputError
from ramac.registry import losses
from tests.losses.samples import agent, pair, terms, value


def test_awr_weighs_cloning_by_the_advantage(batch):
    online, target = agent(), agent()
    loss = CompositeLoss(
        online,
        terms("td", "iql", {"name": "awr", "inverse_temperature": 50.0, "most": 7.0, "effective_sample_size": None}),
        target=target,
    )
    value_net = loss.terms["iql"].net(batch["observation"]).squeeze(-1)
    q = value(target.critic, batch["observation"], batch["action"]).amin(-1)
    weight = torch.exp(50 * ((q - 2) / 3 - value_net)).clamp(max=7).detach()
    assert 0 < (weight == 7).float().mean() < 1
    found = loss.sample_losses(batch, ["awr"])
    assert torch.allclose(found[0]["awr"], weight * online.actor.bc(batch), rtol=1e-4, atol=1e-4)
    effective = (weight.sum() ** 2 / (weight**2).sum() / 32).item()
    assert found[1]["effective_sample_size_awr"].item() == pytest.approx(effective, rel=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_awr_weighs_so_that_a_share_of_the_data_counts(scale):
    """Normal advantages of any size: the effective sample size of exp(b A) is exp(-b^2 var A)."""
    term = losses.build({"name": "awr", "effective_sample_size": 0.6, "most": 1e9})
    for shift in (-1.0, 0.0, 1.0):
        weight = term.weights(shift + scale * torch.randn(200_000))
        assert (weight.mean() ** 2 / (weight**2).mean()).item() == pytest.approx(0.6, abs=0.02)


def test_awr_that_only_clones_says_so():
    term = losses.build({"name": "awr", "effective_sample_size": None, "inverse_temperature": 0.01})
    assert "plain cloning" in term.warning({"effective_sample_size": 0.998})
    assert term.warning({"effective_sample_size": 0.9}) is None
    with pytest.raises(InputError, match="one of effective_sample_size and inverse_temperature is null"):
        losses.build({"name": "awr", "inverse_temperature": 3.0})


def test_awr_without_a_value_takes_the_policys_own_action_and_no_gradient_through_it(batch):
    online, target = agent("flow2", "qr", "cvar0.2"), agent("flow2", "qr", "cvar0.2")
    loss = CompositeLoss(online, terms("td", "awr"), target=target)
    torch.manual_seed(1)
    found = loss.sample_losses(batch, ["awr"])[0]["awr"]
    torch.manual_seed(1)
    with torch.no_grad():
        own = online.actor(batch.select("observation"))["action"]
        rho = [target.critic.risk(pair(batch["observation"], a), target.risk).amin(-1) for a in (batch["action"], own)]
        advantage = (rho[0] - rho[1]) / 3
        centred = advantage - advantage.mean()
        weight = torch.exp(math.sqrt(math.log(2)) * centred / advantage.std(correction=0)).clamp(max=100)
    assert torch.allclose(found, weight * online.actor.bc(batch), rtol=1e-4)
