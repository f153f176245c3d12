"""The benchmark compares equals: both implementations have the same losses and gradients; operations are counted."""

import sys
import time
from importlib import import_module
from itertools import product
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import guard, markdown, matmul, memory, page, peers, plain, stages, tables
from benchmarks.__main__ import main
from benchmarks.cells import named, overrides_of
from benchmarks.options import Settings
from benchmarks.parts import by_part
from benchmarks.plain import implicit
from benchmarks.timing import alternate, spread
from benchmarks.updates import ACT_DIM, IMPLICIT, LEVELS, OBS_DIM, by_name, data, levels, ramac_trainer
from ramac.experiment.compose import compose
from ramac.registry import actors, critics
from ramac.risk import stratified
from ramac.training.trainer import Trainer

NAMES = {  # ramac's names of actors and values, and those of the plain implementation
    "td3bc": {"actor.net": "actor.0"},
    "iql": {"actor.net": "actor", "iql.net": "value"},
    "fql": {"actor.velocity": "flow.net", "actor.student.net": "student"},
    "radac": {"actor.epsilon": "actor.net"},
    "rafmac": {"actor.velocity": "actor.net"},
}


def plain_names(recipe: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Parameters of ramac, or their gradients, by the plain implementation's names."""
    result = {}
    for name, value in state.items():
        if not name.startswith("critic."):
            old, new = next(item for item in NAMES[recipe].items() if name.startswith(f"{item[0]}."))
            result[new + name.removeprefix(old)] = value
            continue
        rest = name.removeprefix("critic.").replace("level_embedding", "embedding.0")
        for member in range(2):
            one = value[member]
            result[f"critics.{member}.{rest}"] = one.T if rest.endswith("weight") else one.squeeze(0)
    return result


def same_weights(recipe: str, overrides: list[str], **options) -> tuple[Trainer, Any, dict[str, Any], dict[str, Any]]:
    """ramac's trainer and the plain method with its weights, and the parameters of both by their own names."""
    trainer = ramac_trainer([f"recipe={recipe}", "trainer.compile=off", "trainer.batch_size=64", *overrides], data(500))
    method = plain.METHODS[recipe](OBS_DIM, ACT_DIM, **options)
    own = {k: p for k, p in trainer.agent.named_parameters() if k.partition(".")[0] in ("actor", "critic")}
    own |= {f"{name}.{k}": p for name, term in trainer.loss.terms.items() for k, p in term.named_parameters()}
    modules = {name: module for name, module in vars(method).items() if isinstance(module, nn.Module)}
    copied = {
        f"{name}.{k}": p
        for name, module in modules.items()
        if not name.startswith("target_")
        for k, p in module.named_parameters()
    }
    assert plain_names(recipe, own).keys() == copied.keys()
    with torch.no_grad():
        for name, value in plain_names(recipe, {k: p.data for k, p in own.items()}).items():
            copied[name].copy_(value)
        for p in trainer.target.parameters():  # targets of their own
            p.mul_(1.1)
        for name, module in modules.items():
            if name.startswith("target_"):
                for p, source in zip(
                    module.parameters(), modules[name.removeprefix("target_")].parameters(), strict=True
                ):
                    p.copy_(1.1 * source)
    return trainer, method, own, copied


@pytest.mark.parametrize(
    ("recipe", "kappa"), [("td3bc", None), ("iql", None), ("fql", None), *product(IMPLICIT, (0.0, 1.0))]
)
def test_the_plain_implementation_has_the_same_losses_and_gradients(recipe, kappa, monkeypatch):
    levelled = recipe in IMPLICIT
    overrides, options = ([*levels(LEVELS), f"critic.kappa={kappa}"], {"kappa": kappa}) if levelled else ([], {})
    trainer, method, own, copied = same_weights(recipe, overrides, **options)
    monkeypatch.setattr(implicit, "draw_levels", lambda rows, count, like: stratified((rows,), count, like))
    batch = trainer.batch()
    rows = by_name(batch)
    for group, ours_of in {"critic": method.critic_losses, "actor": method.actor_losses}.items():
        torch.manual_seed(1)
        theirs, _ = trainer.loss.sample_losses(batch, trainer.loss.group(group))
        torch.manual_seed(1)
        ours = ours_of(rows)
        assert ours.keys() == theirs.keys()
        for term, loss in ours.items():
            expected = theirs[term].mean()
            torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
            trained = trainer.loss.parameters_of(group)
            names = [next(k for k, p in own.items() if p is parameter) for parameter in trained]
            settings = {"retain_graph": True, "materialize_grads": True}
            gradients = torch.autograd.grad(expected, trained, **settings)
            wanted = plain_names(recipe, dict(zip(names, gradients, strict=True)))
            assert any(gradient.any() for gradient in wanted.values())
            found = torch.autograd.grad(loss, [copied[name] for name in wanted], **settings)
            for name, ours_too in zip(wanted, found, strict=True):
                error = (ours_too - wanted[name]).norm() / wanted[name].norm().clamp_min(1e-12)
                assert error < 1e-5, (term, name, float(error))


@pytest.mark.parametrize("recipe", ["td3bc", "iql", "fql"])  # the others' risk term begins later in a run
def test_the_plain_implementation_moves_the_same_way(recipe, monkeypatch):
    trainer, method, own, copied = same_weights(recipe, [])

    def seeded(function):  # ramac's critics also draw the levels of their targets
        def wrapped(batch):
            torch.manual_seed(1)
            return function(batch)

        return wrapped

    for owner, names in {
        trainer.loss: ("critic_loss", "actor_loss"),
        method: ("critic_losses", "actor_losses"),
    }.items():
        for name in names:
            monkeypatch.setattr(owner, name, seeded(getattr(owner, name)))
    before = {name: value.clone() for name, value in copied.items()}
    for _ in range(method.delay):
        batch = trainer.batch()
        trainer.update(batch)
        method.update(by_name(batch))
    for name, value in plain_names(recipe, {k: p.data for k, p in own.items()}).items():
        moved = (value - before[name]).norm()
        assert moved > 0 and (copied[name] - value).norm() < 1e-2 * moved, name


def test_operations_are_counted_forwards_and_backwards():
    left, right, bias = (torch.randn(*shape, requires_grad=True) for shape in ((3, 5, 7), (3, 7, 11), (3, 1, 11)))
    x, layer = torch.randn(5, 7), nn.Linear(7, 11)

    def work():
        (
            torch.baddbmm(bias, left, right).sum()
            + torch.bmm(left, right).sum()
            + layer(x).sum()
            + (left[0] @ right[0]).sum()
        ).backward()

    one = 2 * 5 * 7 * 11
    forward = (3 + 3 + 1 + 1) * one
    backward = (6 + 6 + 1 + 2) * one  # both factors' gradients; of the linear layer's only the weight's
    assert matmul.operations(work) == forward + backward
    shapes = matmul.products(work)
    assert matmul.operations_of(shapes) == forward + backward
    assert matmul.operations_of(matmul.products(matmul.replay(shapes, torch.device("cpu")))) == forward + backward


def test_an_update_has_no_products_that_are_not_counted():
    trainer = ramac_trainer(["recipe=radac", "trainer.compile=off", "trainer.batch_size=32"], data(500))
    counted = [f(lambda: trainer.update(trainer.batch())) for f in (matmul.operations, matmul.products)]
    assert counted[0] == matmul.operations_of(counted[1])


def test_memory_is_the_largest_sum_of_living_tensors():
    def work():
        first = torch.zeros(1_000_000)
        del first
        kept = torch.zeros(500_000)
        return [kept, torch.zeros(750_000)]

    memory.peak(work, torch.device("cpu"))
    assert memory.peak(work, torch.device("cpu")) == pytest.approx(5, rel=0.01)


def test_the_guard_names_what_became_slow():
    recorded = [
        {"recipe": "radac", "implementation": name, "ratio": ratio}
        for name, ratio in (("ramac", "4"), ("plain 32", ""))
    ]
    fast, slow = ({"recipe": "radac", "implementation": "ramac", "best_ratio": ratio} for ratio in (2.1, 1.9))
    assert not guard.fallen([fast], recorded)
    assert guard.fallen([slow, {"recipe": "new", "implementation": "ramac", "best_ratio": 0.1}], recorded) == [
        "radac ramac: 1.90 times the plain implementation's speed, recorded 4.00; at least 50% of it must be kept"
    ]


def test_parts_are_all_of_the_time_and_named():
    rows = by_part(ramac_trainer(["recipe=radac", "trainer.batch_size=32"], data(100)), 2)
    assert sum(row["percent"] for row in rows) == pytest.approx(100)
    names = {
        "target: actor's chain",
        "target: critic",
        "critic forward",
        "critic backward",
        "actor's chain",
        "risk",
        "bc",
    }
    assert names | {"actor backward", "optimisers", "averages", "rest"} <= {row["part"] for row in rows}


def test_alternation_measures_what_takes_longer():
    times = alternate({"short": lambda: time.sleep(0.001), "long": lambda: time.sleep(0.02)}, 3, 0.01)
    assert all(values.shape == (3,) for values in times.values())
    assert (times["long"] >= 0.02).all() and (times["short"] >= 0.001).all()
    assert spread("x", [1, 2, 3, 4, 5]) == {"x": 3, "x_q1": 2, "x_q3": 4}


def test_the_stages_of_a_run_are_functions_that_there_are():
    """A function that is renamed would be counted as something else."""
    for place in set(stages.STAGES) - {"importlib._bootstrap:_find_and_load"}:
        module, _, name = place.partition(":")
        found = attrgetter(name)(import_module(module))
        assert f"{found.__module__}:{found.__qualname__}" == place


def test_time_belongs_to_the_innermost_stage(monkeypatch):
    def inner():
        return stages.stage_of(sys._getframe())

    def outer():
        return stages.stage_of(sys._getframe()), inner()

    assert outer() == (stages.REST, stages.REST)
    place = f"{__name__}:test_time_belongs_to_the_innermost_stage.<locals>"
    monkeypatch.setattr(stages, "STAGES", {f"{place}.outer": "o", f"{place}.inner": "i"})
    assert outer() == ("o", "i")


def test_the_page_takes_its_tables_from_csv_files(tmp_path):
    rows = [
        {"actor": "flow", "critic": "qr", "updates_per_second": 31.234, "limit_percent": 40.4},
        {"actor": "ddpm", "critic": "iqn", "updates_per_second": 8, "limit_percent": 70},
    ]
    tables.write(tmp_path / "cells.csv", rows)
    text = "before\n<!-- table: cells -->\nold\n<!-- end -->\n<!-- table: seeds -->\nkept\n<!-- end -->\n"
    page_text = page.filled(text, tmp_path)
    wanted = "| actor | qr | iqn |\n| --- | --- | --- |\n| flow | 31.2 (40 %) |  |\n| ddpm |  | 8 (70 %) |"
    assert wanted in page_text and markdown.between({"ratio": ""}, "ratio") == ""
    assert "old" not in page_text and "kept" in page_text
    assert page.filled(page_text, tmp_path) == page_text


def test_rows_of_other_code_stay_when_torchrl_is_measured(tmp_path, monkeypatch):
    recorded = [
        {"peer": "CORL", "revision": "abc", "algorithm": "td3bc", "compared": "its own networks", "compile": "flat"},
        {"peer": "torchrl", "revision": "0", "algorithm": "td3bc", "compared": "old", "compile": "flat"},
    ]
    recorded = [row | peers.ratios(*(np.array([[x, y]]) for x, y in ((6, 8), (4, 4), (3, 2)))) for row in recorded]
    tables.write(tmp_path / "peers.csv", [{**row, "device": "D", "torch": "T", "date": "today"} for row in recorded])
    monkeypatch.setattr(peers, "RESULTS", tmp_path / "peers.csv")
    monkeypatch.setattr(peers, "data", lambda device: data(500))
    monkeypatch.setattr(peers, "alternate", lambda work, *_, **__: {name: np.ones((5, 2)) for name in work})
    rows = peers.measure(Settings(torch.device("cpu"), True, tmp_path))["peers"]
    assert [(row["peer"], row["algorithm"]) for row in rows] == [
        ("CORL", "td3bc"),
        ("torchrl", "td3bc"),
        ("torchrl", "iql"),
    ]
    text = markdown.peers(tables.read(tmp_path / "peers.csv"))
    assert "| CORL abc | td3bc | its own networks | 1.5 (1.5 to 1.5) | 2 (2 to 2) | 2, 4 |" in text
    assert "D, one thread, torch T, today" in text


@pytest.mark.parametrize("algorithm", peers.LOSSES)
def test_losses_of_torchrl_are_trained_on_networks_of_our_size(algorithm, monkeypatch):
    made: list[torch.optim.Adam] = []
    monkeypatch.setattr(peers, "adam", lambda *groups, make=peers.adam: made.append(make(*groups)) or made[-1])
    update = peers.LOSSES[algorithm](data(500))
    before = [[p.detach().clone() for p in optimiser.param_groups[0]["params"]] for optimiser in made]
    for _ in range(2):
        update()
    after = [optimiser.param_groups[0]["params"] for optimiser in made]
    assert all((old != new).any() for a, b in zip(before, after, strict=True) for old, new in zip(a, b, strict=True))
    trainer = ramac_trainer([f"recipe={algorithm}"], data(500))
    ours = sum(p.numel() for group in trainer.optimisers.values() for p in group.param_groups[0]["params"])
    assert sum(p.numel() for group in after for p in group) == ours


def test_every_table_has_its_place_and_its_recorded_figures():
    text, results = page.PAGE.read_text(), Path(page.__file__).parent / "results"
    for name, (file, _) in page.TABLES.items():
        assert f"<!-- table: {name} -->" in text
        assert (results / f"{file}.csv").exists()
    assert page.filled(text, results) == text  # written by the command, not by hand


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "cell"], "no part 'cell'; choose from recipes"),
        (["profile", "radak"], "no cell 'radak'; choose a recipe"),
        (["profil", "radac"], "'profil radac' is nothing to do"),
        (["--threads", "0"], "threads must be a whole number from 1, got 0"),
        (["--nothing"], "unrecognized arguments: --nothing"),
    ],
)
def test_bad_input_is_one_line(words, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    text = capsys.readouterr().err
    assert message in text and text.count("\n") == 1


def test_pairs_have_a_configuration():
    for actor, critic in zip(actors, [*critics, *critics], strict=False):
        config = compose(overrides_of(actor, critic))
        assert (config.actor["name"], config.critic["name"]) == (actor, critic)
    assert named("flow-iqn") == ["recipe=rafmac", *levels(LEVELS)]
