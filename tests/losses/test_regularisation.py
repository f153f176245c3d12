"""Entropy and conservative terms against plain formulas."""

import math

import pytest
import torch

from ramac.composite import CompositeLoss
from tests.losses.samples import agent, pair, terms, value


def test_entropy_is_the_log_density_and_its_temperature_follows_it(batch):
    online, target = agent(), agent()
    loss = CompositeLoss(online, terms("td", "entropy"), target=target)
    torch.manual_seed(1)
    found = loss.sample_losses(batch, ["entropy"])[0]["entropy"]
    torch.manual_seed(1)
    mean, log_std = online.actor.net(batch["observation"]).chunk(2, -1)
    before = mean + log_std.exp() * torch.randn_like(mean)
    normal = -0.5 * ((before - mean) / log_std.exp()) ** 2 - log_std - 0.5 * math.log(2 * math.pi)
    assert torch.allclose(found, (normal - torch.log(1 - before.tanh() ** 2)).sum(-1), atol=1e-3)
    term = loss.terms["entropy"]
    (slope,) = torch.autograd.grad(term.multiplier(found), term.multiplier.logarithm)
    assert slope.item() == pytest.approx(-(found.mean().item() - 2), rel=1e-4)  # SAC: entropy of -A, alpha = 1


def test_entropy_enters_the_target_where_asked(batch):
    online, target = agent(), agent()
    parts = terms(
        {"name": "td", "gamma": 1.0, "next_actor": "online"}, {"name": "entropy", "backup": True, "weight": 0.5}
    )
    loss = CompositeLoss(online, parts, target=target)
    torch.manual_seed(1)
    batch["step"] = loss.step.expand(32)
    found = loss.terms["td"].next_returns(batch, online, target)
    torch.manual_seed(1)
    action, log_prob = online.actor.sample_with_log_prob(batch["next", "observation"])
    q = value(target.critic, batch["next", "observation"], action).amin(-1)
    assert torch.allclose(found.squeeze(-1), (q - 2) / 3 - 0.5 * log_prob, atol=1e-4)


@pytest.mark.parametrize("actor", ["gaussian", "flow"])
def test_conservative_is_the_gap_of_cql(batch, actor):
    online = agent(actor)
    loss = CompositeLoss(online, terms("td", {"name": "conservative", "actions": 5}), target=online)
    torch.manual_seed(1)
    found = loss.sample_losses(batch, ["conservative"])[0]["conservative"]
    torch.manual_seed(1)
    actions, density = [torch.rand(32, 5, 2) * 2 - 1], [torch.full((32, 5), -2 * math.log(2))]
    if actor == "gaussian":
        for state in (batch["observation"], batch["next", "observation"]):
            a, log_prob = online.actor.sample_with_log_prob(state.repeat_interleave(5, 0))
            actions.append(a.reshape(32, 5, 2))
            density.append(log_prob.reshape(32, 5))
    action, density = torch.cat(actions, 1), torch.cat(density, 1)
    states = batch["observation"].unsqueeze(1).expand(-1, action.shape[1], -1)
    q = (value(online.critic, states, action) - 2) / 3
    data = (value(online.critic, batch["observation"], batch["action"]) - 2) / 3
    plain = torch.log((q.exp() / density.exp().unsqueeze(-1)).mean(1)) - data
    assert torch.allclose(found, plain.sum(-1), atol=1e-3)


def test_codac_is_that_gap_level_by_level(batch):
    online = agent("flow2", "qr10", "cvar0.2")
    loss = CompositeLoss(online, terms("td", {"name": "conservative", "form": "codac", "actions": 5}), target=online)
    torch.manual_seed(1)
    found = loss.sample_losses(batch, ["conservative"])[0]["conservative"]
    torch.manual_seed(1)
    action = torch.rand(32, 5, 2) * 2 - 1
    level = (torch.arange(32) + torch.rand(32, 1, 32)) / 32
    states = batch["observation"].unsqueeze(1)
    z = online.critic(pair(states.expand(-1, 5, -1), action), level.expand(-1, 5, -1))["value"]
    data = online.critic(pair(batch["observation"], batch["action"]), level[:, 0])["value"]
    plain = torch.log(((z - 2) / 3).exp().mean(1) * 4) - (data - 2) / 3  # a box of volume 4
    assert torch.allclose(found, plain.mean(-1).sum(-1), atol=1e-3)


@pytest.mark.parametrize(("form", "critic"), [("cql", "mean"), ("codac", "qr10")])
def test_conservative_counts_in_reward_units_where_asked(batch, form, critic):
    """The gap of 2 + 3 Z, whose temperature is 1 in reward units."""
    online = agent("flow2", critic)
    node = {"name": "conservative", "form": form, "normalise": "none", "actions": 5}
    torch.manual_seed(1)
    found = terms("td", node)["conservative"](batch, online, online)
    torch.manual_seed(1)
    action = torch.rand(32, 5, 2) * 2 - 1
    level = (torch.arange(online.critic.levels) + torch.rand(32, 1, online.critic.levels)) / online.critic.levels
    states = batch["observation"].unsqueeze(1).expand(-1, 5, -1)
    z = online.critic(pair(states, action), level.expand(-1, 5, -1))["value"]
    data = online.critic(pair(batch["observation"], batch["action"]), level[:, 0])["value"]
    plain = torch.log(z.double().exp().mean(1) * 4) - data
    assert torch.allclose(found, plain.mean(-1).sum(-1).float(), atol=1e-3)
