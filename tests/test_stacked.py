"""Seeds trained as one are equal to single runs, whatever the cell."""

import pytest
import torch

from ramac.cli import compose
from ramac.run import assemble
from ramac.spec import Spec, transitions
from ramac.stacked import Stacked
from ramac.trainer import Trainer

SMALL = ["trainer.batch_size=8", "trainer.steps=20"]


def trainer_of(overrides: list[str], seed: int) -> Trainer:
    generator = torch.Generator().manual_seed(7)
    rows = torch.rand(64, 3 + 2 + 1 + 3, generator=generator) * 2 - 1
    data = transitions(rows[:, :3], rows[:, 3:5], rows[:, 5], rows[:, 6:], rows[:, 5] > 0.9)
    data["next", "action"] = rows[:, 3:5].flip(0)
    data["next", "followed"] = rows[:, 5:6] > 0
    trainer = assemble(compose([*SMALL, *overrides, f"seed={seed}"]), Spec.unit(3, 2), data, torch.device("cpu"))
    trainer.objective.double()  # Adam makes a full step of a gradient that is rounding alone
    return trainer


def stacked_of(overrides: list[str], seeds: range) -> Stacked:
    pairs = [(trainer_of(overrides, seed), torch.get_rng_state()) for seed in seeds]
    return Stacked(*map(list, zip(*pairs, strict=True)))


CELLS = [
    *[f"actor={actor} loss=[td,bc{',distill' * (actor == 'onestep')},risk]" for actor in
      ("ddpm", "ddim", "dpmsolver", "edm", "flow", "onestep", "shortcut", "perturbed", "vae", "gaussian", "mixture",
       "deterministic")],
    *[f"critic={critic}" for critic in ("fqf", "qr", "ncqr", "expectile", "c51", "hlgauss", "flow")],
    "critic=mean risk=neutral",
    *[f"recipe={recipe}" for recipe in ("radac", "rafmac", "oraac", "codac", "dql", "fql", "td3bc", "rebrac", "iql",
      "cql")],
    "loss=[td,bc,entropy,risk] actor=gaussian",
    "loss=[td,bc,guidance]", "loss=[td,bc,risk_onestep]", "loss=[td,bc] loss.bc.budget=0.1", "trainer.delay=2",
]  # fmt: skip


@pytest.mark.parametrize("cell", CELLS)
def test_stacked_seeds_equal_single_runs(cell: str) -> None:
    overrides = cell.split()
    if "risk" in cell or "recipe" in cell or "critic" in cell:
        overrides += ["++loss.risk.warmup=0"] if "guidance" not in cell and "onestep" not in cell else []
    singles = []
    for seed in range(2):
        trainer = trainer_of(overrides, seed)
        for _ in range(4):
            metrics = trainer.update(trainer.batch())
        singles.append((trainer, metrics))
    together = stacked_of(overrides, range(2))
    for _ in range(4):
        found = together.update()
    for seed, (single, metrics) in enumerate(singles):
        assert set(metrics.keys()) == set(found.keys())
        for name, value in single.objective.state_dict().items():
            own = together.trainers[seed].objective.state_dict()[name]
            torch.testing.assert_close(own, value, rtol=1e-6, atol=1e-8)
        for name, value in metrics.items():
            torch.testing.assert_close(found[seed][name], value, rtol=1e-6, atol=1e-8)
