"""A trainer continues from its state as if it had not stopped, whatever its optimiser."""

import pytest
import torch
from tensordict import TensorDict

from ramac.agent import Agent
from ramac.losses import build_terms
from ramac.spec import Spec
from ramac.training.trainer import Trainer

SPEC = Spec.unit(3, 2)


class Momentum(Trainer):
    """Other optimisers, whose states are not Adam's."""

    def make_optimisers(self, parameters, multipliers):
        super().make_optimisers(parameters, multipliers)
        self.schedulers = {}
        self.optimisers = {"critic": torch.optim.AdamW(parameters["critic"], 1e-3, amsgrad=True)}
        self.optimisers["actor"] = torch.optim.RMSprop(parameters["actor"], 1e-3, momentum=0.9)


def build(kind: type[Trainer], seed: int, batch: TensorDict) -> Trainer:
    torch.manual_seed(seed)
    agent = Agent.build({"actor": "gaussian", "critic": "qr8", "risk": "cvar0.2"}, SPEC)
    terms = build_terms({"td": "td", "bc": {"name": "bc", "budget": 0.1}, "risk": "risk", "entropy": "entropy"}, SPEC)
    return kind(agent, terms, batch, seed, steps=9, batch_size=8, delay=2)


@pytest.mark.parametrize("kind", [Trainer, Momentum])
@pytest.mark.parametrize("stop", [1, 4])  # before and after the first step of the actor
def test_a_resumed_trainer_equals_an_uninterrupted_one(kind, stop, batch):
    first = build(kind, 0, batch)
    for _ in range(stop):
        metrics = first.update(first.batch())
    state, last = first.state(), {k: v.item() for k, v in metrics.items()}
    for _ in range(3):
        metrics = first.update(first.batch())
    torch.manual_seed(99)
    second = build(kind, 0, batch)
    second.load_state(state, last, stop)
    assert second.step_count == second.step.item() == stop
    for _ in range(3):
        resumed = second.update(second.batch())
    assert all(torch.equal(metrics[name], resumed[name]) for name in sorted(metrics.keys()))
    before, after = first.state(), second.state()
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
