"""How `ramac report` groups runs and other people's episodes."""

import numpy as np
import pytest

from ramac.cli.report import main
from ramac.errors import InputError
from ramac.reporting import report
from tests.reporting.samples import groups_of, rows, write_run


def test_groups_are_what_differs(tmp_path):
    write_run(tmp_path / "a", 0, actor__steps=5)
    write_run(tmp_path / "deep" / "er" / "b", 1, actor__steps=10)
    write_run(tmp_path / "c" / "evaluations" / "d", 1, actor="gaussian")
    assert groups_of(tmp_path) == (["actor.steps"], ["steps=5", "steps=10"], "")
    write_run(tmp_path / "e", 0, actor="gaussian", trainer__batch_size=64)
    keys, labels, note = groups_of(tmp_path)
    assert (keys, labels) == (["actor", "actor.steps"], ["flow, steps=5", "flow, steps=10", "gaussian"])
    assert note == "Settings that differ along with the keys shown: trainer.batch_size"


def test_a_recipe_stands_for_what_it_fixes(tmp_path):
    for seed in range(2):
        write_run(tmp_path / f"a{seed}", seed, recipe="dql", actor="ddpm", risk="neutral")
        write_run(tmp_path / f"b{seed}", seed, recipe="radac", actor="ddpm20", risk="cvar0.1", trainer__batch_size=64)
    assert groups_of(tmp_path) == (["recipe"], ["dql", "radac"], "")
    write_run(tmp_path / "c", 0, recipe="dql", actor="vae", risk="neutral")
    assert groups_of(tmp_path)[:2] == (["recipe", "actor"], ["dql, ddpm", "dql, vae", "radac, ddpm20"])


def test_tasks_are_always_apart(tmp_path):
    for task in ("bandit", "hopper-mixed"):
        write_run(tmp_path / task[:1], task=task, critic="qr")
        write_run(tmp_path / task[:2], task=task, critic="iqn")
    assert groups_of(tmp_path, "critic")[0] == ["task", "critic"]
    main([str(tmp_path), "--by", "critic", "--baseline=critic=qr"])
    assert [(row["task"], row["critic"]) for row in rows(tmp_path / "report" / "comparison.csv")] == [
        ("bandit", "iqn"), ("hopper-mixed", "iqn"),
    ]  # fmt: skip
    assert (tmp_path / "report" / "table.tex").read_text().count(r"\begin{tabular}") == 2


def test_pooled_settings_and_repeated_seeds_are_named(grid):
    folder, returns = grid
    main([str(folder), "--by=actor"])
    page = (folder / "report" / "index.html").read_text()
    assert "Groups pool runs that differ in risk (cvar0.1, neutral)" in page
    assert "Several runs of one group and seed, all their episodes kept: flow, seed 0 (" in page
    flow = next(row for row in rows(folder / "report" / "table.csv") if row["actor"] == "flow")
    pooled = np.concatenate([part for (actor, *_), part in returns.items() if actor == "flow"])
    assert (int(flow["episodes"]), float(flow["mean"])) == (120, pytest.approx(pooled.mean()))


def test_other_peoples_episodes_join(tmp_path):
    write_run(tmp_path / "mine")
    lines = ["actor,seed,step,episode,return"]
    lines += [
        f"bcq,{seed},{step},{i},{step / 100 + i + seed}" for seed in (3, 4) for step in (100, 200) for i in range(4)
    ]
    (tmp_path / "theirs.csv").write_text("\ufeff" + "\n".join(lines))
    main([str(tmp_path / "mine"), str(tmp_path / "theirs.csv"), "--out", str(tmp_path / "out")])
    bcq, flow, _ = rows(tmp_path / "out" / "table.csv")
    assert (bcq["actor"], flow["actor"], bcq["task"]) == ("bcq", "flow", "bandit")
    assert (bcq["seeds"], bcq["episodes"], float(bcq["mean"]), bcq["hazard_rate"]) == ("2", "8", 2 + 1.5 + 3.5, "")
    page = (tmp_path / "out" / "index.html").read_text()
    assert "theirs.csv names no task; it is taken to be bandit" in page
    assert "CVaR 0.1 on 0.8 of 8 episodes" in page
    assert "Learning curves" in page


def test_one_foreign_method_is_not_pooled_with_ones_own_run(tmp_path):
    write_run(tmp_path / "mine", shift=100.0)
    theirs = tmp_path / "bcq.csv"
    theirs.write_text("method,task,episode,return\n" + "".join(f"bcq,bandit,{i},{i}\n" for i in range(8)))
    assert main([str(tmp_path / "mine"), str(theirs), f"--out={tmp_path / 'page'}"]) == 0
    table = {row["method"]: row for row in rows(tmp_path / "page" / "table.csv") if row["method"]}
    assert float(table["bcq"]["mean"]) == pytest.approx(3.5)
    assert table["bcq"]["episodes"] == "8"
    assert "20" in {row["episodes"] for row in table.values()}, "one's own run has a row of its own"


@pytest.mark.parametrize("row", ["2,3.0", "2,3.0,mine"])
def test_a_row_that_lacks_its_last_columns_is_named(row, tmp_path):
    (tmp_path / "theirs.csv").write_text(f"episode,return,method,seed\n0,1,mine,0\n1,2,mine,0\n{row}\n")
    with pytest.raises(InputError, match=r"theirs\.csv: row 3 has fewer than the 4 columns"):
        main([str(tmp_path / "theirs.csv")])
    assert not (tmp_path / "report").exists()


def test_a_csv_file_without_settings_is_called_by_its_name(tmp_path):
    for name in ("ours", "theirs"):
        (tmp_path / f"{name}.csv").write_text("episode,return\n" + "\n".join(f"{i},{i}" for i in range(20)))
    main([str(tmp_path / "ours.csv"), str(tmp_path / "theirs.csv")])
    assert [row["method"] for row in rows(tmp_path / "report" / "table.csv")] == ["ours", "theirs"]


def test_a_setting_that_is_called_like_a_number_keeps_its_column(tmp_path):
    lines = [f"{kind},{i},{i}" for kind in ("low", "high") for i in range(8)]
    (tmp_path / "theirs.csv").write_text("\n".join(["mean,episode,return", *lines]))
    found = report([tmp_path / "theirs.csv"], quiet=True).tables["results"]
    assert found["setting mean"].tolist() == ["high", "low"]
    assert found["mean"].tolist() == [3.5, 3.5]
