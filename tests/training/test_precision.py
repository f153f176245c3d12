"""trainer.precision holds for the matmuls of a gradient step only, and its results are close to the highest."""

import pytest
import torch

from benchmarks.precision import deviation, losses_and_gradients
from benchmarks.updates import data, ramac_trainer


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_the_precision_holds_in_the_step_and_nowhere_else(precision: str) -> None:
    trainer = ramac_trainer(["recipe=fql", f"trainer.precision={precision}", "trainer.batch_size=8"], data(100))
    found = []
    compute = trainer.loss.sample_losses
    trainer.loss.sample_losses = lambda *given: found.append(torch.get_float32_matmul_precision()) or compute(*given)
    trainer.update(trainer.batch())
    assert found == [precision, precision]  # critic and actor
    assert torch.get_float32_matmul_precision() == "highest"
    trainer.loss.sample_losses = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        trainer.update(trainer.batch())
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_losses_and_gradients_are_those_of_the_highest_precision(precision: str) -> None:
    """Up to the eight bits of bfloat16, on processors that round to it."""
    trainer = ramac_trainer(["recipe=radac", "trainer.batch_size=64"], data(500))
    for found, exact in zip(*(losses_and_gradients(trainer, p) for p in (precision, "highest")), strict=True):
        assert deviation(found, exact) < 2e-2
