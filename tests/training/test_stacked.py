"""Seeds trained as one are equal to single runs, whatever the cell."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import torch._inductor.config

from ramac import load, train
from ramac.cli import compose
from ramac.errors import InputError
from ramac.experiment.run import assemble
from ramac.spec import Spec, transitions
from ramac.training.stacked import Stacked
from ramac.training.trainer import Trainer

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
        found = together.update(together.batch())
    for seed, (single, metrics) in enumerate(singles):
        assert set(metrics.keys()) == set(found.keys())
        for name, value in single.objective.state_dict().items():
            own = together.members[seed].objective.state_dict()[name]
            torch.testing.assert_close(own, value, rtol=1e-6, atol=1e-8)
        for name, value in metrics.items():
            torch.testing.assert_close(found[seed][name], value, rtol=1e-6, atol=1e-8)


def test_each_seed_has_the_run_folder_it_would_have_alone(tmp_path) -> None:
    tiny = ["actor.hidden=[8]", "critic.hidden=[8]", "trainer.steps=20", "trainer.batch_size=16", "log_every=5"]
    tiny += ["evaluation.episodes=4", "evaluation.every=10", "device=cpu", "loss.risk.warmup=2", "critic=qr8"]
    summary = train(*tiny, "seed=3", "seeds=2", f"run_dir={tmp_path}/together")
    assert [run["seed"] for run in summary["runs"]] == [3, 4]
    for run in summary["runs"]:
        alone = train(*tiny, f"seed={run['seed']}", f"run_dir={tmp_path}/alone{run['seed']}")
        for name, key in (("metrics.csv", "value"), ("episodes.csv", "return")):
            found, wanted = (
                list(csv.DictReader(Path(r["run_dir"], name).read_text().splitlines())) for r in (run, alone)
            )
            assert len(found) == len(wanted) > 0
            for a, b in zip(found, wanted, strict=True):
                assert (a["step"], a.get("name")) == (b["step"], b.get("name"))
                assert float(a[key]) == pytest.approx(float(b[key]), rel=1e-2, abs=1e-2)  # float32, and Adam
        assert run["seeds_together"] == 2 and load(run["run_dir"]).act(np.zeros((2, 1))).shape == (2, 2)
    assert {path.name for path in Path(tmp_path, "together").iterdir()} == {"seed3", "seed4"}


@pytest.mark.parametrize("seeds", ["0", "-1", "two", "1.5", "2000"])
def test_a_wrong_number_of_seeds_is_refused(seeds: str, tmp_path) -> None:
    with pytest.raises(InputError, match="seeds must be a whole number from 1 to 1024"):
        train(f"seeds={seeds}", f"run_dir={tmp_path}/run")
    assert not Path(tmp_path, "run").exists()


def test_compiled_updates_equal_eager_ones(monkeypatch) -> None:
    monkeypatch.setattr(torch._inductor.config, "fallback_random", True)  # inductor draws other numbers than eager
    tiny = ["actor=flow2", "actor.hidden=[8]", "critic=qr4", "critic.hidden=[8]", "loss.risk.warmup=0"]
    eager, compiled = trainer_of(tiny, 0), trainer_of([*tiny, "trainer.compile=on"], 0)
    for trainer in (eager, compiled):
        torch.manual_seed(0)
        for _ in range(3):
            trainer.update(trainer.batch())
    with pytest.raises(InputError, match=r"trainer\.compile=on is for one seed"):
        Stacked([compiled, compiled], [torch.get_rng_state()] * 2)
    assert compiled.loss._compiled_call_impl is not None
    for name, value in eager.metrics.items():
        torch.testing.assert_close(compiled.metrics[name], value, rtol=1e-6, atol=1e-8)
