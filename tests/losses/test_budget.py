"""A budget is met at the end of a run of default length, from whatever weight it starts."""

import math
import os

import pytest
import torch

from ramac.agent import Agent
from ramac.experiment.compose import compose
from ramac.experiment.run import Build
from ramac.losses import build_terms
from ramac.losses.schedule import Multiplier
from ramac.spec import Spec
from ramac.training.trainer import Trainer

SMALL = ("actor=deterministic", "critic=mean", "risk=neutral", "actor.hidden=[32]", "critic.hidden=[32]")


@pytest.mark.parametrize("start", [100.0, 0.01] if "RAMAC_CASES" in os.environ else [100.0])  # both each night
def test_a_budget_is_met_from_far_above_and_far_below(start):
    """Cloning alone reaches 0.32 on the bandit; the value drives the actor beyond the budget to the corners, 1.3."""
    words = (*SMALL, "trainer.batch_size=64", "loss.bc.budget=0.4", f"loss.bc.weight={start}")
    trainer = Build.of(compose(words)).trainer
    assert trainer.steps == 3000  # the task's default
    found = [(metrics["loss_bc"].item(), metrics["multiplier_bc"].item()) for metrics in trainer.run()]
    last = torch.tensor([loss for loss, _ in found[-300:]]).mean().item()
    assert last == pytest.approx(0.4, rel=0.05)
    assert 0.1 < found[-1][1] < 2


def test_a_budget_that_is_not_met_is_told(batch):
    agent = Agent.build({"actor": "gaussian", "critic": "mean", "risk": "neutral"}, Spec.unit(3, 2))
    for budget, told in ((-99.0, True), (99.0, False)):
        terms = build_terms({"bc": {"name": "bc", "budget": budget}}, Spec.unit(3, 2))
        trainer = Trainer(agent, terms, batch, 0, steps=60)
        for _ in trainer.run():
            pass
        found = trainer.warnings()
        assert bool(found) == told
        assert all(text.startswith("loss=bc: its budget -99 is not met: the last loss is ") for text in found)


@pytest.mark.parametrize(
    ("grown", "loss", "told"), [(11, 0.9, True), (11, 0.8, False), (22_000, 0.75, True), (22_000, 0.65, False)]
)
def test_a_multiplier_that_leaves_nothing_to_other_terms_is_told_of_any_excess(grown, loss, told):
    multiplier = Multiplier(0.5, budget=0.7)
    with torch.no_grad():
        multiplier.logarithm += math.log(grown)
    assert bool(multiplier.warning(loss)) == told
