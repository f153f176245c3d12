"""A captured gradient step is the eager one: the same weights and metrics to the last bit, in every part."""

import copy
import os
from typing import ClassVar

import pytest
import torch

from benchmarks.updates import data, ramac_trainer
from ramac.experiment.presets import presets
from ramac.losses import Term
from ramac.registry import losses
from ramac.training.trainer import Trainer

STEPS = 7  # with a delay of 2: each kind is captured, then replayed
DAILY = [  # each actor, critic and kind of term
    "recipe=td3bc", "recipe=iql", "recipe=fql", "recipe=dql", "recipe=cql loss.conservative.budget=1",
    "actor=edm critic=expectile", "actor=perturbed critic=c51", "actor=shortcut critic=fqf",
    "actor=mixture critic=ncqr", "actor=ddim critic=flow", "actor=vae critic=hlgauss",
    "actor=dpmsolver loss.risk.warmup=4 loss.bc.final=0 loss.bc.decay=3 loss.bc.shape=cosine",
]  # fmt: skip
CELLS = [*DAILY, *(f"recipe={recipe}" for recipe in presets("recipe") if f"recipe={recipe}" not in DAILY)]
CELLS = CELLS if "RAMAC_CASES" in os.environ else DAILY  # all of them each night
SMALL = ["trainer.batch_size=8", "trainer.steps=20", "actor.hidden=[8,8]"]


def trained(cell: str, mode: str, steps: int = STEPS) -> tuple[Trainer, list[dict[str, float]]]:
    logged = data(100)
    logged["next", "action"], logged["next", "followed"] = logged["action"], ~logged["next", "terminated"]
    trainer = ramac_trainer([*SMALL, *cell.split(), f"trainer.compile={mode}"], logged)
    return trainer, continued(trainer, steps)


def continued(trainer: Trainer, steps: int) -> list[dict[str, float]]:
    return [{str(k): v.item() for k, v in trainer.update(trainer.batch()).items()} for _ in range(steps)]


def same(first: Trainer, second: Trainer) -> bool:
    ours, theirs = first.state(), second.state()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.filterwarnings("ignore:this critic learns the mean only")
@pytest.mark.parametrize("cell", CELLS)
def test_flat_steps_are_the_eager_ones(cell: str) -> None:
    (eager, expected), (flat, found) = (trained(cell, mode) for mode in ("off", "flat"))
    assert found == expected
    assert same(eager, flat)
    assert flat.captured.operators and not eager.captured.operators


def test_a_state_of_captured_steps_continues_in_eager_ones_and_back() -> None:
    whole, _ = trained("recipe=td3bc", "off", 9)
    for first, second in (("flat", "off"), ("off", "flat")):
        trainer, metrics = trained("recipe=td3bc", first, 4)
        state = trainer.state()
        other, _ = trained("recipe=td3bc", second, 0)
        other.load_state(state, metrics[-1], 4)
        continued(other, 5)
        assert same(whole, other)


def test_compiled_steps_are_the_eager_ones_up_to_rounding_and_resume_to_the_last_bit() -> None:
    _, expected = trained("recipe=bc", "off", 5)
    whole, found = trained("recipe=bc", "inductor", 3)
    state = copy.deepcopy(whole.state())
    found += continued(whole, 2)
    for ours, eager in zip(found, expected, strict=True):
        assert ours == pytest.approx(eager, rel=1e-4)
    second, _ = trained("recipe=bc", "inductor", 0)
    second.load_state(state, found[2], 3)
    continued(second, 2)
    assert second.captured.operators
    assert same(whole, second)


class OfValues(Term):
    """A plug-in whose Python code depends on values, which no trace can follow."""

    group = "actor"
    reads: ClassVar = ["observation", ("policy", "action")]

    def forward(self, tensordict, agent, target):
        action = tensordict.get(("policy", "action"))
        return action.square().sum(-1) if action.sum().item() > 0 else action.abs().sum(-1)


class Counts(OfValues):
    """One whose Python number changes from step to step: a trace keeps its first value."""

    count = 0

    def forward(self, tensordict, agent, target):
        self.count += 1
        return self.count * tensordict.get(("policy", "action")).square().sum(-1)


class Reshapes(OfValues):
    """One that changes the shape of a view in place."""

    def forward(self, tensordict, agent, target):
        return tensordict.get(("policy", "action")).detach().t_().square().sum(0)


@pytest.mark.parametrize(
    ("term", "reason"), [(OfValues, "RuntimeError"), (Counts, "AssertionError"), (Reshapes, "ValueError: aten.t_")]
)
def test_what_cannot_be_captured_stays_eager_and_says_why(
    term: type[Term], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "entries", {name: losses[name] for name in losses})
    losses.register("of_values")(term)
    eager, expected = trained("loss=[td,bc,of_values]", "off")
    with pytest.warns(UserWarning, match=f"the gradient step cannot be captured, it stays eager: {reason}"):
        flat, found = trained("loss=[td,bc,of_values]", "flat")
    assert found == expected
    assert same(eager, flat)


def test_a_copy_of_a_trainer_and_a_batch_of_another_size_do_their_steps() -> None:
    trainer, _ = trained("recipe=td3bc", "flat")
    other = copy.deepcopy(trainer)
    assert not other.captured.operators
    batch = trainer.batch()
    random = torch.get_rng_state()
    expected = {str(key): value.item() for key, value in trainer.update(batch).items()}
    torch.set_rng_state(random)
    assert {str(key): value.item() for key, value in other.update(batch).items()} == expected
    trainer.update(batch[:3])


def test_a_scheduled_learning_rate_that_is_a_number_stays_eager() -> None:
    """Of a plug-in's own optimiser: a trace would keep its first value."""
    trainer, _ = trained("recipe=bc", "flat", 0)
    trainer.optimisers["actor"] = torch.optim.SGD(trainer.optimisers["actor"].param_groups[0]["params"], 0.1)
    trainer.schedulers["actor"] = torch.optim.lr_scheduler.StepLR(trainer.optimisers["actor"], 2, 0.1)
    with pytest.warns(UserWarning, match="stays eager: ValueError: the learning rate of the actor is scheduled"):
        continued(trainer, 4)
    assert trainer.optimisers["actor"].param_groups[0]["lr"] == pytest.approx(0.001)


def test_an_error_of_a_term_is_its_own() -> None:
    trainer, _ = trained("recipe=td3bc", "flat", 2)
    before = copy.deepcopy(trainer.state())
    trainer.loss.sample_losses = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        trainer.update(trainer.batch())
    kept = trainer.state()
    assert all(torch.equal(before[name], kept[name]) for name in before if name != "sampler")


def test_metrics_of_a_step_are_not_overwritten_by_the_next() -> None:
    trainer, _ = trained("recipe=bc", "flat", 3)
    kept = [trainer.update(trainer.batch()) for _ in range(3)]
    values = [metrics["loss_bc"].item() for metrics in kept]
    assert len(set(values)) == 3
    assert not any(metrics["loss_bc"].is_inference() for metrics in kept)


def test_short_runs_and_processors_choose_what_they_can() -> None:
    assert trained("recipe=bc", "auto", 0)[0].captured.mode == "off"
    assert trained("recipe=bc trainer.steps=5000", "auto", 0)[0].captured.mode == "flat"
    with pytest.raises(ValueError, match="compile=cudagraph needs a GPU"):
        trained("recipe=bc", "cudagraph", 0)
