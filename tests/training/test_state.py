"""A trainer continues from its state as if it had not stopped, whatever its optimiser; states of version 0.1 fit."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from tensordict import TensorDict

from ramac.agent import Agent
from ramac.losses import build_terms
from ramac.registry import trainers
from ramac.spec import Spec
from ramac.training.stacked import Stacked
from ramac.training.trainer import Trainer

SPEC = Spec.unit(3, 2)
OLD = Path(__file__).parents[1] / "fixtures/v0.1/interrupted"


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


def stacked(batch: TensorDict) -> Stacked:
    return Stacked(*zip(*[(build(Trainer, seed, batch), torch.get_rng_state()) for seed in (0, 1)], strict=True))


@pytest.mark.parametrize("kind", ["single", "other optimisers", "stacked"])
@pytest.mark.parametrize("stop", [1, 4])  # before and after the first step of the actor
def test_a_resumed_trainer_equals_an_uninterrupted_one(kind, stop, batch):
    def make():
        return stacked(batch) if kind == "stacked" else build(Momentum if "other" in kind else Trainer, 0, batch)

    first = make()
    for _ in range(stop):
        metrics = first.update(first.batch())
    states, last = first.state(), [{k: v.item() for k, v in m.items()} for m in first.split(metrics)]
    assert len(states) == len(first.members) == len(last) == (2 if kind == "stacked" else 1)
    for _ in range(3):
        metrics = first.update(first.batch())
    torch.manual_seed(99)
    second = make()
    second.load_state(states, last, stop)
    assert second.step_count == stop and [member.step.item() for member in second.members] == [stop] * len(states)
    for _ in range(3):
        resumed = second.update(second.batch())
    assert all(torch.equal(metrics[name], resumed[name]) for name in sorted(metrics.keys()))
    for before, after in zip(first.state(), second.state(), strict=True):
        assert before.keys() == after.keys()
        assert [name for name in before if not torch.equal(before[name], after[name])] == []


def test_stacked_states_are_those_of_single_trainers(batch):
    together, alone = stacked(batch), build(Trainer, 0, batch)
    together.update(together.batch())
    for state, member in zip(together.state(), together.members, strict=True):
        assert {name: value.shape for name, value in state.items()} == {n: v.shape for n, v in alone.state()[0].items()}
        assert torch.equal(state["loss.agent.actor.net.0.weight"], member.agent.actor.net[0].weight)
    moved = [state["critic.loss.agent.critic.trunk.0.weight.exp_avg"] for state in together.state()]
    assert not torch.equal(*moved)


def test_states_of_version_01_have_the_names_and_shapes_of_today():
    config = OmegaConf.load(OLD / "config.yaml")
    saved, spec = load_file(OLD / "states/5.safetensors"), Spec.unit(1, 2)
    agent = Agent.build({key: config[key] for key in ("actor", "critic", "risk")}, spec)
    trainer = trainers.build(config.trainer, agent, build_terms(config.loss, spec), TensorDict(batch_size=[1]), 0)
    assert {n: v.shape for n, v in saved.items()} == {n: v.shape for n, v in trainer.state()[0].items()}
    trainer.load_state([saved], [{"loss_td": 0.5}], 5)
    assert trainer.step_count == trainer.step == 5 and trainer.metrics["loss_td"] == 0.5
    assert torch.equal(trainer.target.critic.trunk[0].weight, saved["loss.target.critic.trunk.0.weight"])
    assert trainer.schedulers["actor"].last_epoch == 2  # a delay of 2
