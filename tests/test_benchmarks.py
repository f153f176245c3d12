"""The benchmark compares equals: both implementations have the same losses and gradients; operations are counted."""

import sys
import time
from importlib import import_module
from operator import attrgetter
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import guard, markdown, matmul, memory, page, plain, stages, tables
from benchmarks.__main__ import main
from benchmarks.cells import named, overrides_of
from benchmarks.parts import by_part
from benchmarks.timing import alternate, spread
from benchmarks.updates import ACT_DIM, LEVELS, OBS_DIM, RECIPES, by_name, data, levels, ramac_trainer
from ramac.experiment.compose import compose
from ramac.registry import actors, critics
from ramac.risk import stratified


def plain_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Parameters of ramac's actor and critic, or their gradients, by the plain implementation's names."""
    result = {}
    for name, value in state.items():
        kind, _, rest = name.partition(".")
        if kind == "actor":
            result[f"actor.net.{rest.partition('.')[2]}"] = value
            continue
        rest = rest.replace("level_embedding", "embedding.0")
        for member in range(2):
            one = value[member]
            result[f"critics.{member}.{rest}"] = one.T if rest.endswith("weight") else one.squeeze(0)
    return result


def parameters_of(method: plain.Plain) -> dict[str, nn.Parameter]:
    groups = {"actor": method.actor, "critics": method.critics}
    return {f"{group}.{name}": p for group, module in groups.items() for name, p in module.named_parameters()}


@pytest.mark.parametrize("kappa", [0.0, 1.0])
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_plain_implementation_has_the_same_losses_and_gradients(recipe, kappa, monkeypatch):
    logged = data(500)
    overrides = [f"recipe={recipe}", *levels(LEVELS), f"critic.kappa={kappa}", "trainer.batch_size=64"]
    trainer = ramac_trainer(overrides, logged)
    method = RECIPES[recipe](OBS_DIM, ACT_DIM, kappa=kappa)
    own = {name: p for name, p in trainer.agent.named_parameters() if name.partition(".")[0] in ("actor", "critic")}
    copied = parameters_of(method)
    assert plain_names(dict(own)).keys() == copied.keys()
    with torch.no_grad():
        for p in trainer.target.parameters():  # targets of their own
            p.mul_(1.1)
        for name, value in plain_names({k: p.data for k, p in own.items()}).items():
            copied[name].copy_(value)
        method.target_actor.load_state_dict(
            {k: 1.1 * v if "net" in k else v for k, v in method.actor.state_dict().items()}
        )
        method.target_critics.load_state_dict({k: 1.1 * v for k, v in method.critics.state_dict().items()})
    monkeypatch.setattr(plain, "draw_levels", lambda rows, count, like: stratified((rows,), count, like))

    batch = trainer.batch()
    rows = by_name(batch)
    for group, terms in {"critic": ["td"], "actor": ["bc", "risk"]}.items():
        torch.manual_seed(1)
        theirs, _ = trainer.loss.sample_losses(batch, terms)
        torch.manual_seed(1)
        ours = [method.td_loss(rows)] if group == "critic" else method.actor_losses(rows)
        for term, loss in zip(terms, ours, strict=True):
            expected = theirs[term].mean()
            torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
            trained = trainer.loss.parameters_of(group)
            names = [next(k for k, p in own.items() if p is parameter) for parameter in trained]
            gradients = torch.autograd.grad(expected, trained, retain_graph=True)
            wanted = plain_names(dict(zip(names, gradients, strict=True)))
            found = torch.autograd.grad(loss, [copied[name] for name in wanted], retain_graph=True)
            for name, ours_too in zip(wanted, found, strict=True):
                error = (ours_too - wanted[name]).norm() / wanted[name].norm()
                assert error < 1e-5, (term, name, float(error))


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
    trainer = ramac_trainer(["recipe=radac"], data(500))
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
