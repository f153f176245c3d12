"""The composite loss as TorchRL's own training loops use it."""

import copy
import re
import sys
from pathlib import Path

import pytest
import torch
from tensordict import TensorDict
from torchrl.objectives import HardUpdate, LossModule, SoftUpdate

from ramac.composite import CompositeLoss
from ramac.errors import InputError
from ramac.training.trainer import Trainer
from tests.losses.samples import agent, terms

READ = {"observation", "action", ("next", "observation"), ("next", "reward"), ("next", "terminated")}
RISK = {"name": "risk", "weight": 0.5, "warmup": 0, "ramp": 0}


def test_a_loss_module_says_what_it_reads_and_writes(batch):
    loss = CompositeLoss(agent(), terms("td", {"name": "bc", "budget": 1.0}, RISK))
    assert isinstance(loss, LossModule) and set(loss.in_keys) == READ
    written = ["loss_critic", "loss_actor", "loss_multiplier", "td_loss", "bc_loss", "multiplier_bc", "risk_loss"]
    assert loss.out_keys == [*written, "scale_risk"]
    result = loss(batch)
    assert set(result.keys()) == set(loss.out_keys) and all(value.ndim == 0 for value in result.values())
    assert [key for key, value in result.items() if value.requires_grad] == [
        "loss_critic",
        "loss_actor",
        "loss_multiplier",
    ]
    assert ("policy", "action") not in batch.keys(include_nested=True), "the batch is left as it was"


def test_keywords_give_what_the_tensordict_gives(batch):
    loss = CompositeLoss(agent(), terms("td", "bc"))
    given = {"_".join([key] if isinstance(key, str) else key): batch[key] for key in loss.in_keys}
    torch.manual_seed(1)
    expected = loss(batch)
    torch.manual_seed(1)
    for key, value in zip(loss.out_keys, loss(**given), strict=True):
        assert torch.equal(value, expected[key])


def test_entries_of_a_batch_may_have_other_names(batch):
    loss = CompositeLoss(agent(), terms("td", "bc"))
    torch.manual_seed(1)
    expected = loss(batch)["loss_critic"]
    other = TensorDict({"state": batch["observation"], "action": batch["action"]}, [32])
    other["next"] = batch["next"].rename_key_("reward", "gain").rename_key_("observation", "state")
    loss.set_keys(observation="state", reward="gain")
    assert ("next", "gain") in loss.in_keys and "state" in loss.in_keys
    torch.manual_seed(1)
    assert torch.equal(loss(other)["loss_critic"], expected)


@pytest.mark.parametrize(("reduction", "factor"), [("none", None), ("sum", 32.0)])
def test_reductions_agree(reduction, factor, batch):
    parts, online = terms("td", "bc", RISK), agent()
    torch.manual_seed(1)
    mean = CompositeLoss(online, parts)(batch)
    torch.manual_seed(1)
    found = CompositeLoss(online, parts, reduction=reduction)(batch)
    for key in ("loss_critic", "loss_actor", "td_loss"):
        assert found[key].shape == (() if factor else (32,))
        assert found[key].sum().item() == pytest.approx(32 * mean[key].item(), rel=1e-5)


def test_an_unknown_reduction_is_refused():
    with pytest.raises(InputError, match=r"reduction must be mean, sum or none, got 'median'"):
        CompositeLoss(agent(), terms("bc"), reduction="median")


@pytest.mark.parametrize(
    ("nodes", "reduction"),
    [
        (("td", "bc", {**RISK, "normalise": "abs"}), "mean"),
        (("td", "bc", {**RISK, "normalise": "abs"}), "none"),
        (("td", "awr"), "mean"),
        (("td", {"name": "conservative", "budget": 1.0}, "bc"), "sum"),
    ],
)
def test_masked_samples_do_not_count(nodes, reduction, batch):
    """TorchRL marks padded steps; what they hold, even nan, has no effect on losses, scales and multipliers."""
    parts, online = terms(*nodes), agent("gaussian", "mean")
    torch.manual_seed(1)
    expected = CompositeLoss(online, parts, reduction=reduction)(batch[:20])
    padded = batch.clone().set("valid", torch.arange(32).unsqueeze(-1) < 20)
    for key in ("observation", ("next", "reward"), ("next", "observation")):
        padded[key][20:] = torch.nan
    loss = CompositeLoss(online, parts, reduction=reduction)
    loss.loss_mask_key = "valid"
    torch.manual_seed(1)
    found = loss(padded)
    for key, value in expected.items():
        assert torch.equal(found[key][:20] if found[key].ndim else found[key], value), key
        assert not found[key].ndim or not found[key][20:].any()


@pytest.mark.parametrize(
    ("key", "change", "words"),
    [
        ("action", None, "the batch has no 'action'"),
        (
            ("next", "reward"),
            torch.Tensor.flatten,
            r"\('next', 'reward'\) of a batch must have shape \[32, 1\], got \[32\]",
        ),
        (
            ("next", "terminated"),
            torch.Tensor.float,
            r"\('next', 'terminated'\) of a batch must be bool, got torch.float32",
        ),
    ],
)
def test_a_batch_that_would_broadcast_is_refused(key, change, words, batch):
    loss = CompositeLoss(agent(), terms({"name": "td", "gamma": 0.0}, "bc"))
    value = batch[key]
    wrong = batch.exclude(key) if change is None else batch.set(key, change(value))
    with pytest.raises(InputError, match=words):
        loss(wrong)


def test_a_copy_is_a_loss_of_its_own(batch):
    online = agent()
    loss = CompositeLoss(online, terms("td", "bc"))
    twin = copy.deepcopy(loss)
    assert {id(p) for p in twin.agent.parameters()} <= {id(p) for p in twin.parameters()}
    assert not {id(p) for p in twin.parameters()} & {id(p) for p in loss.parameters()}
    updater = SoftUpdate(twin, eps=0.5)
    with torch.no_grad():
        for parameter in twin.agent.parameters():
            parameter += 1
    updater.step()
    assert not torch.equal(next(twin.target.parameters()), next(loss.target.parameters()))


def test_a_given_target_can_be_updated(batch):
    loss = CompositeLoss(agent(), terms("td", "bc"), target=agent())
    SoftUpdate(loss, eps=0.5).step()
    assert "CompositeLoss" in repr(loss)


def test_leading_dimensions_are_one_batch(batch):
    loss = CompositeLoss(agent("deterministic", "mean"), terms("td"))
    assert torch.equal(loss(batch.reshape(4, 8))["loss_critic"], loss(batch)["loss_critic"])


def test_the_sum_of_losses_trains_each_group_by_its_own(batch):
    """One backward pass of the sum, as TorchRL's trainer makes it, gives both groups' own gradients."""
    online = agent()
    loss = CompositeLoss(online, terms("td", "bc", RISK))
    torch.manual_seed(1)
    result = loss(batch)
    (result["loss_critic"] + result["loss_actor"]).backward()
    found = {
        name: parameter.grad.clone() for name, parameter in online.named_parameters() if parameter.grad is not None
    }
    loss.zero_grad()
    torch.manual_seed(1)
    critic = torch.autograd.grad(loss.critic_loss(batch)[0], list(online.critic.parameters()))
    actor = torch.autograd.grad(loss.actor_loss(batch)[0], list(online.actor.parameters()))
    expected = [
        *zip(online.critic.parameters(), critic, strict=True),
        *zip(online.actor.parameters(), actor, strict=True),
    ]
    names = {id(parameter): name for name, parameter in online.named_parameters()}
    assert len(expected) == len(found)
    for parameter, gradient in expected:
        assert torch.allclose(found[names[id(parameter)]], gradient, rtol=1e-5, atol=1e-8)
    assert all(parameter.requires_grad for parameter in online.parameters())


def test_only_the_trained_agent_is_among_the_parameters():
    online = agent()
    loss = CompositeLoss(online, terms("td", "iql", {"name": "bc", "budget": 1.0}))
    own = {id(p) for part in (online, *loss.terms.values()) for p in part.parameters()}
    assert {id(p) for p in loss.parameters()} == own and all(p.requires_grad for p in loss.parameters())


def test_soft_and_hard_updates_move_the_target(batch):
    online = agent()
    loss = CompositeLoss(online, terms("td", "bc"))
    updater = SoftUpdate(loss, eps=0.9)
    before = [parameter.clone() for parameter in loss.target.parameters()]
    with torch.no_grad():
        for parameter in online.parameters():
            parameter += 1
    updater.step()
    for old, new in zip(before, loss.target.parameters(), strict=True):
        assert torch.allclose(new, old + 0.1, atol=1e-6) and not new.requires_grad
    hard = HardUpdate(loss, value_network_update_interval=1)
    with torch.no_grad():
        for parameter in online.parameters():
            parameter += 1
    hard.step()
    hard.step()
    assert all(map(torch.equal, loss.target.parameters(), online.parameters()))


def test_a_cast_moves_both_agents_and_what_updaters_see(batch):
    loss = CompositeLoss(agent("deterministic", "mean"), terms("td"))
    loss.to(torch.float64)
    for part in (loss.agent, loss.target):
        assert all(tensor.dtype == torch.float64 for tensor in (*part.parameters(), *part.buffers()))
    named = dict(loss.agent.named_buffers())
    for key, value in loss.agent_params.items(True, True):
        if (own := named.get(".".join(key))) is not None:
            assert value.data_ptr() == own.data_ptr()
    SoftUpdate(loss, eps=0.5)


def test_the_trainer_uses_the_public_interface(batch):
    """Its gradient step, written with TorchRL's and torch's parts only, gives the same weights to the last bit."""
    torch.manual_seed(0)
    trainer = Trainer(agent(), terms("td", "bc", RISK), batch, 0, steps=3, schedule="constant", batch_size=8)
    torch.manual_seed(0)
    loss = CompositeLoss(agent(), terms("td", "bc", RISK), steps=3)
    updater = SoftUpdate(loss, eps=0.995)
    optimisers = [torch.optim.Adam(loss.parameters_of(group), 1e-3, fused=True) for group in ("critic", "actor")]
    torch.manual_seed(1)
    batches = [trainer.batch() for _ in range(3)]
    for part in batches:
        trainer.update(part)
    torch.manual_seed(1)
    for step, part in enumerate(batches):
        for compute, optimiser in zip((loss.critic_loss, loss.actor_loss), optimisers, strict=True):
            compute(part)[0].backward()
            torch.nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], 5.0)
            optimiser.step()
            optimiser.zero_grad()
        updater.eps = 0.995 if step else 0.0  # the first step copies
        updater.step()
        loss.step += 1
    assert all(map(torch.equal, loss.agent.parameters(), trainer.agent.parameters()))
    assert all(map(torch.equal, loss.target.parameters(), trainer.target.parameters()))


def test_the_example_trains_and_evaluates(monkeypatch, capsys):
    path = Path(__file__).parents[2] / "examples/torchrl_training.py"
    text = path.read_text()
    short = text.replace("STEPS, EPISODES = 3000, 100", "STEPS, EPISODES = 7, 60")
    assert short != text and len(text.splitlines()) < 75
    monkeypatch.setattr(sys, "argv", [str(path), "1"])
    exec(compile(short, str(path), "exec"), {"__name__": "__main__"})
    assert re.search(r"^mean return -?[\d.]+, CVaR_0.1 -?[\d.]+ over 60 episodes$", capsys.readouterr().out, re.M)
