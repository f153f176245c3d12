"""Every pair of parts trains: finite losses, a risk gradient into the actor, actions inside the box."""

import os
from itertools import product

import pytest
import torch

from ramac.agent import Agent
from ramac.composite import CompositeLoss
from ramac.registry import actors, critics, losses, risks
from ramac.spec import Spec
from ramac.training.trainer import Trainer

SPEC = Spec(3, 2, (-2.0, 0.0), (2.0, 1.0), (0.0,) * 3, (1.0,) * 3, 1.0, 2.0)
# Each actor meets each risk measure once; the critics take turns as in a Latin square, so each meets all of both.
ROWS = [
    [(actor, sorted(critics)[(row + column) % len(critics)], risk) for column, risk in enumerate(sorted(risks))]
    for row, actor in enumerate(sorted(actors))
]
CELLS = [cell for row in ROWS for cell in row]
# each day as many neighbours of a row as there are critics, so that every actor still meets every critic
DAILY = [cell for row in ROWS[::2] for cell in row[: len(critics)]]
DAILY += [cell for row in ROWS[1::2] for cell in row[-len(critics) :]]


def test_the_cells_hold_every_pair_of_parts():
    assert {(actor, critic) for actor, critic, _ in CELLS} == set(product(actors, critics))
    assert {(critic, risk) for _, critic, risk in CELLS} == set(product(critics, risks))
    assert {(actor, risk) for actor, _, risk in CELLS} == set(product(actors, risks))
    assert {(actor, critic) for actor, critic, _ in DAILY} == set(product(actors, critics))
    assert {risk for *_, risk in DAILY} == set(risks)


@pytest.mark.filterwarnings("ignore:this critic learns the mean only")
@pytest.mark.parametrize(("actor", "critic", "risk"), CELLS if "RAMAC_CASES" in os.environ else DAILY)
def test_cell(actor, critic, risk, batch):
    batch["action"] = torch.rand(32, 2) * torch.tensor([4.0, 1.0]) - torch.tensor([2.0, 0.0])
    agent = Agent.build({"actor": actor, "critic": critic, "risk": risk}, SPEC)
    names = ("td", "bc", "risk", *agent.actor.trained_by)
    terms = {name: losses.build({"name": name, "warmup": 0, "ramp": 0}) for name in names}
    trainer = Trainer(agent, terms, batch, 0, steps=3)
    for metrics in trainer.run():
        assert {"loss_td", "loss_bc", "loss_risk"} < set(metrics.keys())
        assert all(value.isfinite() for value in metrics.values())
    loss = trainer.loss.sample_losses(batch, ["risk"])[0]["risk"]
    gradients = torch.autograd.grad(loss.mean(), list(agent.actor.parameters()), allow_unused=True)
    assert sum(g.abs().sum().item() for g in gradients if g is not None) > 0
    action = agent.act(torch.randn(100, 3).numpy())
    assert (action >= [-2, 0]).all()
    assert (action <= [2, 1]).all()


def test_a_mean_critic_says_that_it_knows_no_tail():
    with pytest.warns(UserWarning, match=r"risk=cvar0.1 reads as the mean"):
        Agent.build({"actor": "gaussian", "critic": "mean", "risk": "cvar0.1"}, SPEC)


def test_a_batch_of_one(batch):
    agent = Agent.build({"actor": "ddpm", "critic": "iqn", "risk": "cvar0.1"}, SPEC)
    terms = {name: losses.build(name) for name in ("td", "bc", "risk")}
    assert CompositeLoss(agent, terms, target=agent).sample_losses(batch[:1])[0]["td"].isfinite().all()
