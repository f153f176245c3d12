"""TD's target, and the terms that shape it, against plain formulas."""

import os

import pytest
import torch

from ramac.composite import CompositeLoss
from tests.losses.samples import agent, pair, terms, value


@pytest.fixture
def log(batch):
    after = {"action": torch.rand(32, 2) * 2 - 1, "followed": torch.arange(32).unsqueeze(-1) % 5 != 0}
    for key, column in after.items():
        batch.set(("next", key), column)
    return batch


def test_iql_is_the_expectile_loss_and_the_source_of_the_target(batch):
    online, target = agent(), agent()
    loss = CompositeLoss(online, terms({"name": "td", "gamma": 0.9}, {"name": "iql", "expectile": 0.8}), target=target)
    found = loss.sample_losses(batch)
    net = loss.terms["iql"].net
    q = value(target.critic, batch["observation"], batch["action"]).amin(-1)
    u = (q - 2) / 3 - net(batch["observation"]).squeeze(-1)
    assert torch.allclose(found[0]["iql"], torch.where(u > 0, 0.8, 0.2) * u**2, atol=1e-5)
    after = 2 + 3 * net(batch["next", "observation"])
    y = batch["next", "reward"] + 0.9 * (1 - batch["next", "terminated"].float()) * after
    q = value(online.critic, batch["observation"], batch["action"])
    assert torch.allclose(found[0]["td"], (((y - q) / 3) ** 2).sum(-1), atol=1e-4)


def test_critic_bc_lowers_the_target_where_the_log_continues(log):
    online, target = agent("deterministic"), agent("deterministic")
    loss = CompositeLoss(
        online, terms({"name": "td", "gamma": 0.9}, {"name": "critic_bc", "weight": 0.5}), target=target
    )
    log["step"] = loss.step.expand(32)
    found = loss.terms["td"].returns(log, online, target)
    action = target.actor(pair(log["next", "observation"], log["action"]))["action"]
    q = value(target.critic, log["next", "observation"], action).amin(-1, keepdim=True)
    far = ((action - log["next", "action"]) ** 2).sum(-1, keepdim=True) * log["next", "followed"]
    y = log["next", "reward"] + 0.9 * (1 - log["next", "terminated"].float()) * (q - 0.5 * 3 * far)
    assert torch.allclose(found, (y - 2) / 3, atol=1e-4)


def test_target_smoothing_adds_clipped_noise(batch):
    online, target = agent("deterministic"), agent("deterministic")
    term = terms({"name": "td", "smoothing": 0.4, "smoothing_clip": 0.3})["td"]
    torch.manual_seed(1)
    found = term.next_pair(batch, online, target)["action"]
    torch.manual_seed(1)
    action = target.actor(pair(batch["next", "observation"], batch["action"]))["action"]
    noise = (0.4 * torch.randn(32, 2)).clamp(-0.3, 0.3)
    assert torch.allclose(found, (action + noise).clamp(-1, 1), atol=1e-6)


def test_the_next_actor_is_the_average_or_the_trained_one(batch):
    online, target = agent("deterministic"), agent("deterministic")
    for name, actor in (("average", target.actor), ("online", online.actor)):
        found = terms({"name": "td", "next_actor": name})["td"].next_pair(batch, online, target)["action"]
        assert torch.equal(found, actor(pair(batch["next", "observation"], batch["action"]))["action"])


def test_the_best_of_several_next_actions_counts(batch):
    online, target = agent(), agent()
    term = terms({"name": "td", "candidates": 4, "gamma": 1.0})["td"]
    torch.manual_seed(1)
    found = term.next_returns(batch, online, target)
    torch.manual_seed(1)
    rows = batch["next", "observation"].repeat_interleave(4, 0)
    action = target.actor(pair(rows, torch.zeros(128, 2)))["action"]
    each = value(target.critic, rows, action).amin(-1).reshape(32, 4)
    assert torch.allclose(2 + 3 * found.squeeze(-1), each.amax(-1), atol=1e-4)


@pytest.mark.parametrize("critic", ["iqn", "qr", *(["flow"] if "RAMAC_CASES" in os.environ else [])])  # flow each night
def test_identical_candidates_change_nothing(critic, batch):
    """Candidates are ranked at common levels and the whole distribution of the chosen one is backed up.

    A deterministic actor gives ten times the same action; the lucky draw of ten sets of levels would read too high.
    """
    online = agent("deterministic", critic, "cvar0.1")
    rows = batch[:1].expand(2000).clone()
    found = {}
    for count in (1, 10):
        torch.manual_seed(1)
        term = terms({"name": "td", "candidates": count, "gamma": 1.0, "aggregation": "mean"})["td"]
        found[count] = term.next_returns(rows, online, online).detach().flatten().sort().values
    spread = found[1].std().item()
    assert found[10].mean().item() == pytest.approx(found[1].mean().item(), abs=0.02 * spread)
    tail = len(found[1]) // 10
    assert found[10][:tail].mean().item() == pytest.approx(found[1][:tail].mean().item(), abs=0.02 * spread)


def test_the_actions_of_one_state_are_compared_at_the_same_levels(batch):
    online = agent("deterministic", "iqn", "cvar0.1")
    same = batch.select("observation", "action").unsqueeze(1).expand(32, 5)
    rho = online.critic.risk(same, online.risk)  # [B, C, E]
    assert torch.allclose(rho, rho[:, :1].expand_as(rho), atol=1e-5)
    apart = online.critic.risk(same.reshape(-1), online.risk).reshape(32, 5, -1)
    assert not torch.allclose(apart, apart[:, :1].expand_as(apart), atol=1e-5)


@pytest.mark.parametrize("critic", ["qr", "iqn", "expectile", "c51", "mean"])
def test_own_targets_are_those_of_separate_critics(critic, batch):
    """The loss is the sum over critics of one member each, which have never heard of each other."""
    node = {"name": critic, "ensemble": 3, "hidden": (8,)}
    online, target = agent("deterministic", node), agent("deterministic", node)
    td = {"name": "td", "gamma": 0.9, "aggregation": "own"}
    torch.manual_seed(1)  # targets and implicit critics draw levels
    found = CompositeLoss(online, terms(td), target=target).sample_losses(batch)[0]["td"]
    plain = torch.zeros(32)
    for member in range(3):
        alone = [agent("deterministic", {**node, "ensemble": 1}) for _ in range(2)]
        for single, all_members in zip(alone, (online, target), strict=True):
            single.actor.load_state_dict(all_members.actor.state_dict())
            for weight, weights in zip(single.critic.parameters(), all_members.critic.parameters(), strict=True):
                weight.data.copy_(weights[member : member + 1] if len(weights) == 3 else weights)
        torch.manual_seed(1)
        plain += CompositeLoss(alone[0], terms({"name": "td", "gamma": 0.9}), target=alone[1]).sample_losses(batch)[0][
            "td"
        ]
    assert torch.allclose(found, plain, rtol=1e-4, atol=1e-5)
    shared = CompositeLoss(online, terms({**td, "aggregation": "quantile_min"}), target=target)
    torch.manual_seed(1)
    assert not torch.allclose(found, shared.sample_losses(batch)[0]["td"], rtol=1e-3)


def test_a_bonus_and_the_best_candidate_go_into_each_members_own_target(log):
    online, target = agent("deterministic"), agent("deterministic")
    td = {"name": "td", "gamma": 0.9, "aggregation": "own", "candidates": 3}
    loss = CompositeLoss(online, terms(td, {"name": "critic_bc", "weight": 0.5}), target=target)
    log["step"] = loss.step.expand(32)
    found = loss.terms["td"].returns(log, online, target)
    action = target.actor(pair(log["next", "observation"], log["action"]))["action"]  # three times the same
    q = value(target.critic, log["next", "observation"], action).movedim(-1, 0).unsqueeze(-1)
    far = ((action - log["next", "action"]) ** 2).sum(-1, keepdim=True) * log["next", "followed"]
    y = log["next", "reward"] + 0.9 * (1 - log["next", "terminated"].float()) * (q - 0.5 * 3 * far)
    assert found.shape == (2, 32, 1) and torch.allclose(found, (y - 2) / 3, atol=1e-4)


def test_a_bonus_has_the_weight_of_its_step(log):
    online, target = agent("deterministic"), agent("deterministic")
    node = {"name": "critic_bc", "warmup": 2, "ramp": 4}
    loss = CompositeLoss(online, terms({"name": "td", "gamma": 0.9, "candidates": 3}, node), target=target)
    pairs = loss.terms["td"].next_pair(log, online, target)
    log["step"] = loss.step.expand(32)
    assert loss.terms["critic_bc"].bonus(pairs, log, online).abs().sum() == 0
    log["step"] = log["step"] + 3  # half of the ramp
    half = loss.terms["critic_bc"].bonus(pairs, log, online)
    log["step"] = log["step"] + 99
    full = loss.terms["critic_bc"].bonus(pairs, log, online)
    assert half.shape == (96, 1) and torch.allclose(2 * half, full) and full.min() < 0
