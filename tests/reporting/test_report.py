"""`ramac report`: what it reads, how it groups, its numbers against plain formulas, and the page in a browser."""

import base64
import csv
import json
import math
import re
import shlex
import shutil
import subprocess
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from ramac.cli.report import main, parsed
from ramac.errors import InputError
from ramac.registry import tasks
from ramac.reporting import plots, report
from ramac.reporting.bold import outstanding
from ramac.reporting.formats import decimals
from ramac.reporting.groups import Group, chosen_keys, make_groups
from ramac.reporting.runs import Run, gather, text
from ramac.statistics import different

HEADER = "step,episode,return,length,risky_steps,penalties"


def write_run(
    folder: Path,
    seed: int = 0,
    shift: float = 0.0,
    episodes: int = 20,
    steps: tuple[int, ...] = (1000,),
    task: str = "bandit",
    recipe: str | None = None,
    summary: dict | None = None,
    **settings: object,
) -> np.ndarray:
    """A run folder as a run leaves it, with normal returns about `shift`; `actor__steps=5` is the setting actor.steps.

    Returns those of the last step, [episodes].
    """
    names = {group: str(settings.pop(group, default)) for group, default in
             (("actor", "flow"), ("critic", "iqn"), ("risk", "cvar0.1"))}  # fmt: skip
    config = {group: {"name": re.sub(r"[\d.]+$", "", name)} for group, name in names.items()}
    config |= {"task": {"name": task}, "trainer": {"steps": steps[-1], "batch_size": 256}, "seed": seed}
    config |= {"run_dir": folder.name, "device": "auto", "evaluation": {"episodes": episodes}, "recipe": recipe}
    for key, value in settings.items():
        group, _, leaf = key.partition("__")
        config[group][leaf] = value
    rng = np.random.default_rng([seed, *folder.name.encode()])
    returns = {step: shift + rng.normal(size=episodes) * 10 for step in steps}
    rows = [f"{s},{i},{value},50,{i % 5},0" for s, part in returns.items() for i, value in enumerate(part)]
    metrics = [
        f"{s},{name},{math.exp(-s / 500) + shift}" for s in range(100, 3100, 100) for name in ("loss_td", "loss_bc")
    ]
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "episodes.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    (folder / "metrics.csv").write_text("\n".join(["step,name,value", *metrics]) + "\n")
    result = {"task": task, **names, "loss": ["td", "bc"], "seed": seed, "steps": steps[-1]}
    result |= {"updates_per_second": 20.0 + seed, "wall_seconds": 60.0}
    result |= {"ood": {"rate": 0.1 * (seed + 1), "nominal": 0.05, "paper": {"rate": 0.02}}}
    result |= {"behaviour": {"episodes": 500, "return_mean": 2.5, "return_cvar": {"0.1": -7.5}}}
    result |= ({"recipe": recipe} if recipe else {}) | (summary or {})
    (folder / "summary.json").write_text(json.dumps(result))
    return returns[steps[-1]]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def worst(returns: np.ndarray, alpha: float) -> float:
    """CVaR where alpha n is a whole number."""
    return float(np.sort(returns)[: round(alpha * len(returns))].mean())


def groups_of(path: Path, *by: str) -> tuple[list[str], list[str], str]:
    found = gather([str(path)]).runs
    keys, note = chosen_keys(found, by)
    return keys, [group.label for group in make_groups(found, keys)], note


@pytest.fixture
def grid(tmp_path):
    """Two actors by two risk measures by three seeds, at names that say nothing; returns by cell."""
    found = {}
    for number, (actor, risk, seed) in enumerate(
        (actor, risk, seed) for actor in ("flow", "gaussian") for risk in ("neutral", "cvar0.1") for seed in range(3)
    ):
        shift = 5 * (actor == "flow") + seed
        found[actor, risk, seed] = write_run(
            tmp_path / "runs" / f"x{number}", seed, shift, actor=actor, risk=risk, steps=(500, 1000)
        )
    return tmp_path / "runs", found


def test_numbers_are_those_of_the_episodes(grid, capsys):
    folder, returns = grid
    assert main([str(folder), "--alpha=0.2"]) == 0
    assert "report/index.html (12 runs in 4 groups)" in capsys.readouterr().out
    table = rows(folder / "report" / "table.csv")
    assert len(table) == 5
    for row in table[:-1]:
        seeds = [returns[row["actor"], row["risk"], seed] for seed in range(3)]
        pooled = np.concatenate(seeds)
        ordered = np.sort(pooled)
        plain = {
            "seeds": 3, "episodes": 60, "mean": pooled.mean(), "cvar": worst(pooled, 0.2), "worst": pooled.min(),
            "trimmed_mean": ordered[15:45].mean(), "mean_seed_min": min(part.mean() for part in seeds),
            "mean_seed_max": max(part.mean() for part in seeds), "cvar_seed_min": min(worst(p, 0.2) for p in seeds),
            "hazard_rate": 2 / 50, "ood_rate": 0.2, "ood_paper": 0.02,
        }  # fmt: skip
        assert {name: float(row[name]) for name in plain} == pytest.approx(plain)
        # normal theory: the interval's half width is about 1.96 standard errors within seeds
        error = math.sqrt(sum(part.var() / len(part) for part in seeds)) / 3
        assert float(row["mean_high"]) - float(row["mean_low"]) == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert (table[-1]["actor"], table[-1]["mean"], table[-1]["episodes"]) == ("behaviour data", "2.5", "500")
    text = (folder / "report" / "table.md").read_text()
    assert "| flow | cvar0.1 | 3 | 60 |" in text
    bold = {line.split(" | ")[0].strip("| ") for line in text.splitlines() if re.search(r"60 \| \*\*", line)}
    assert bold == {"flow"}  # five higher in each seed


def test_the_compared_group_against_ten_lines(grid):
    folder, returns = grid
    main([str(folder), "--baseline", "actor=gaussian,risk=neutral"])
    found = {(row["actor"], row["risk"]): row for row in rows(folder / "report" / "comparison.csv")}
    assert set(found) == {("flow", "neutral"), ("flow", "cvar0.1"), ("gaussian", "cvar0.1")}
    base = [returns["gaussian", "neutral", seed] for seed in range(3)]
    mine = [returns["flow", "cvar0.1", seed] for seed in range(3)]
    a, b = np.concatenate(mine), np.concatenate(base)
    text = ("task", "actor", "risk", "resampling")
    row = {name: float(value) for name, value in found["flow", "cvar0.1"].items() if name not in text}
    assert found["flow", "cvar0.1"]["resampling"] == "paired", "the same seeds and episodes"
    assert row["probability_of_improvement"] == pytest.approx((a[:, None] > b).mean())
    assert row["difference_mean"] == pytest.approx(a.mean() - b.mean())
    assert row["difference_cvar"] == pytest.approx(worst(a, 0.1) - worst(b, 0.1))
    rng, draws = np.random.default_rng(7), []
    for _ in range(2000):
        drawn = [rng.integers(20, size=20) for _ in range(3)]
        x, y = (np.concatenate([part[i] for part, i in zip(side, drawn, strict=True)]) for side in (mine, base))
        draws.append((np.mean(x[:, None] > y) + np.mean(x[:, None] == y) / 2, x.mean() - y.mean()))
    for name, values in zip(("probability_of_improvement", "difference_mean"), np.transpose(draws), strict=True):
        low, high = np.quantile(values, (0.025, 0.975))
        assert (row[f"{name}_low"], row[f"{name}_high"]) == pytest.approx((low, high), abs=0.12 * (high - low))


def test_pairs_are_of_runs_with_the_same_episodes(tmp_path):
    write_run(tmp_path / "base")
    write_run(tmp_path / "base1", 1)
    for seed in (0, 1):
        write_run(tmp_path / f"same{seed}", seed, actor="same")
        write_run(tmp_path / f"seeds{seed}", seed + 1, actor="other-seeds")
        write_run(tmp_path / f"more{seed}", seed, actor="more-episodes", episodes=30)
        write_run(tmp_path / f"draws{seed}", seed, actor="other-draws", evaluation__seed=7)
        write_run(tmp_path / f"twice{seed}", 0, actor="one-seed-twice")
    lines = [f"theirs,bandit,{seed},{i},{i + seed}" for seed in (0, 1) for i in range(20)]
    (tmp_path / "theirs.csv").write_text("\n".join(["actor,task,seed,episode,return", *lines]))
    main([str(tmp_path), str(tmp_path / "theirs.csv"), "--by=actor", "--baseline=actor=flow"])
    found = {row["actor"]: row["resampling"] for row in rows(tmp_path / "report" / "comparison.csv")}
    others = ("other-seeds", "more-episodes", "other-draws", "one-seed-twice", "theirs")
    assert found == {"same": "paired"} | dict.fromkeys(others, "unpaired")
    text = (tmp_path / "report" / "comparison.md").read_text()
    assert "Paired: an episode is drawn together with the baseline's of the same seed and number" in text


def test_a_run_that_is_scored_over_several_checkpoints(tmp_path):
    """The last three of four; those of a run that does not say so are of its last one."""
    steps = (500, 1000, 1500, 2000)
    means = {"return_means": {str(step): 0.0 for step in steps[1:]}}
    for seed in range(2):
        write_run(tmp_path / f"{seed}", seed, steps=steps, summary={"checkpoint": means}, actor="mean")
        write_run(tmp_path / f"last{seed}", seed, steps=steps, actor="last")
    main([str(tmp_path)])
    table = {row["actor"]: row for row in rows(tmp_path / "report" / "table.csv")}
    part = np.array([[float(row["return"]) for row in rows(tmp_path / f"{seed}" / "episodes.csv")] for seed in (0, 1)])
    part = part.reshape(2, 4, 20)
    assert (table["mean"]["episodes"], table["last"]["episodes"]) == ("120", "40")
    assert float(table["mean"]["mean"]) == pytest.approx(part[:, 1:].mean())
    assert float(table["mean"]["mean_seed_max"]) == pytest.approx(part[:, 1:].mean((1, 2)).max())
    text = (tmp_path / "report" / "table.md").read_text()
    assert "scored over their last 1 to 3 checkpoints; intervals resample checkpoints and episodes of each run." in text
    cut = (tmp_path / "0" / "episodes.csv").read_text().splitlines()[:-1]
    (tmp_path / "0" / "episodes.csv").write_text("\n".join(cut))
    main([str(tmp_path)])
    page = unescape((tmp_path / "report" / "index.html").read_text())
    assert "episodes.csv: the last 3 checkpoints must have the same number of episodes each" in page


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


def test_a_list_is_not_drawn_as_a_map(grid, tmp_path):
    for number in range(3):
        write_run(tmp_path / "list" / f"{number}", actor=f"flow{number + 2}", critic=("iqn", "qr", "mean")[number])
    main([str(tmp_path / "list")])
    main([str(grid[0])])
    assert not list((tmp_path / "list" / "report" / "figures").glob("heat-maps*"))
    assert list((grid[0] / "report" / "figures").glob("heat-maps-bandit.*"))


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


def test_a_report_returns_its_tables(grid, capsys):
    folder, _ = grid
    found = report([folder], by="actor", baseline="actor=gaussian", out=folder / "out", quiet=True)
    assert (found.folder, capsys.readouterr().out) == (folder / "out", "")
    assert list(found.tables) == ["results", "comparison", "compute"]
    for name, table in zip(("table", "comparison", "compute"), found.tables.values(), strict=True):
        written = rows(folder / "out" / f"{name}.csv")
        assert list(table) == list(written[0])
        assert table["actor"].tolist() == [row["actor"] for row in written]
        assert table.iloc[:, 3].tolist() == pytest.approx([float(row[table.columns[3]]) for row in written])
    assert report([folder], quiet=True).tables["comparison"].empty


def test_a_task_brings_its_own_columns(grid, monkeypatch):
    """With the data's own value in the row of the behaviour data; another task has none of them."""
    folder, _ = grid
    column = SimpleNamespace(key="mass_ring", title="ring", meaning="bandit: share on the ring", style=".1%")
    monkeypatch.setattr(tasks["bandit"], "columns", (column,), raising=False)
    for run in folder.iterdir():
        summary = json.loads((run / "summary.json").read_text())
        (run / "summary.json").write_text(json.dumps(summary | {"mass_ring": 0.25, "data_mass_ring": 0.75}))
    write_run(folder / "other", task="unknown-here", summary={"mass_ring": 0.5})
    table = report([folder], quiet=True).tables["results"]
    ring = table.set_index("task")["mass_ring"]
    assert ring["bandit"].tolist() == [0.25] * 4 + [0.75]
    assert ring["unknown-here"].isna().all()
    page = (folder / "report" / "index.html").read_text()
    assert 'title="bandit: share on the ring, mean over runs">ring</th>' in page
    assert "25.0%" in page and "75.0%" in page


def test_the_curve_over_nominal_rates_is_drawn(tmp_path):
    """Mean and range over seeds, of policy and data; runs without it are in no line, and what is no number in none."""
    rates = (0.01, 0.05, 0.5)
    for seed in (0, 1):
        curve = [{"nominal": rate, "rate": (1 + seed) * rate, "data": rate} for rate in rates]
        curve += [{"nominal": "x", "rate": 1}, {"nominal": 0.2}, 7, {"nominal": -1, "rate": 1}]
        write_run(tmp_path / f"flow{seed}", seed, summary={"ood": {"rate": 0.1, "nominal": 0.05, "curve": curve}})
    for number, broken in enumerate(({"rate": 0.3}, {"rate": 0.3, "curve": 7}, {"rate": 0.3, "curve": []}, None, "x")):
        write_run(tmp_path / f"old{number}", actor="gaussian", summary={"ood": broken})
    runs = gather([str(tmp_path)]).runs
    made = plots.ood_curves(make_groups(runs, ["actor"]), 0.1)
    assert made is not None
    policy, data = made[0].axes
    for axes, line in ((policy, [0.015, 0.075, 0.75]), (data, rates)):
        assert axes.get_xlabel() == "nominal rate of the detector"
        assert axes.get_legend_handles_labels()[1] == ["flow"]
        assert np.allclose(np.array(axes.lines[0].get_xydata()), np.stack([rates, line], 1))
    band = np.array(policy.collections[0].get_paths()[0].vertices)
    assert {(0.5, 0.5), (0.5, 1.0)} <= set(map(tuple, band.tolist()))
    assert plots.ood_curves(make_groups([run for run in runs if "old" in run.source], ["actor"]), 0.1) is None


def test_rates_by_the_rule_of_version_01_are_marked(tmp_path):
    write_run(tmp_path / "new", episodes=50)
    write_run(tmp_path / "old", actor="gaussian", episodes=50, summary={"ood": {"rate": 0.3}})
    found = report([tmp_path], quiet=True)
    assert found.warnings == []
    text = (tmp_path / "report" / "table.md").read_text()
    assert text.endswith("\n\nOOD actions by the rule of ramac 0.1, not to be compared with others: gaussian.\n")
    assert found.tables["results"]["ood_rate"].tolist()[:2] == [0.1, 0.3]


def test_hostile_settings_are_text(tmp_path):
    """In the page, in Markdown, in LaTeX and in the titles of figures, where $ would begin a formula."""
    hostile = r"<b>[a](b)|$\frac$|*x*"
    for number, actor in enumerate((hostile, "line\nbreak")):
        write_run(tmp_path / f"{number}", actor=actor)
    report([tmp_path], quiet=True)
    folder = tmp_path / "report"
    assert rows(folder / "table.csv")[0]["actor"] == hostile
    assert r"| \<b\>\[a\](b)\|\$\\frac\$\|\*x\* |" in (folder / "table.md").read_text()
    assert "| line break |" in (folder / "table.md").read_text()
    assert text("half \udcf6") == r"half \udcf6"  # which JSON can spell
    cell = r"\textless{}b\textgreater{}[a](b)\textbar{}\$\textbackslash{}frac\$\textbar{}*x* &"
    assert cell in (folder / "table.tex").read_text()
    assert "<b>" not in (folder / "index.html").read_text()


BROKEN = {
    "a cut summary": ("summary.json", lambda text: text[:40], "summary.json is not valid JSON: "),
    "a cut configuration": ("config.yaml", lambda text: text[:30] + "\n: [", "config.yaml is not valid YAML: "),
    "no column": ("episodes.csv", lambda text: text.replace("return", "retrun"), "no column 'return'.*'retrun'"),
    "nan": ("episodes.csv", lambda text: re.sub("(00,3,)[^,]+", r"\1nan", text), "nan in 1 of 20 rows, first in row 4"),
    "a cut row": ("episodes.csv", lambda text: text + "1000,20", "episodes.csv: row 21 has fewer than the 6 columns"),
    "no rows": ("episodes.csv", lambda text: HEADER, "episodes.csv has no rows"),
    "cut metrics": (
        "metrics.csv",
        lambda text: text + "3100,loss_td",
        "metrics.csv: row 61 has fewer than the 3 columns of the first line; the rest of the run is",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_folder_is_listed_and_left_out(kind, tmp_path, capsys):
    write_run(tmp_path / "good")
    write_run(tmp_path / "bad", 1)
    name, change, reason = BROKEN[kind]
    (tmp_path / "bad" / name).write_text(change((tmp_path / "bad" / name).read_text()))
    assert main([str(tmp_path)]) == 0
    page = unescape((tmp_path / "report" / "index.html").read_text())
    assert re.search(f"{tmp_path}/bad</td>.*{reason}", page)
    assert rows(tmp_path / "report" / "table.csv")[0]["seeds"] == ("2" if kind == "cut metrics" else "1")
    assert "; 1 failed, unfinished or damaged" in capsys.readouterr().out


def test_failed_and_unfinished_runs_are_listed(tmp_path):
    write_run(tmp_path / "good")
    for name in ("failed", "unfinished"):
        write_run(tmp_path / name)
        (tmp_path / name / "summary.json").unlink()
    (tmp_path / "failed" / "failed.json").write_text('{"reason": "loss_td is nan at update 7"}')
    main([str(tmp_path)])
    page = (tmp_path / "report" / "index.html").read_text()
    assert "failed: loss_td is nan at update 7" in page
    assert "unfinished: no summary.json" in page


BAD = {
    "no path": ([], "report needs a folder"),
    "nowhere": (["nowhere"], "no folder and no csv file 'nowhere'"),
    "an empty folder": (["empty"], "no run folder in 'empty'"),
    "nothing finished": (["half"], "no finished run in half: half/a: unfinished: no summary.json"),
    "a key": (["runs", "--by", "actr"], "--by=actr: no such setting; .*did you mean 'actor'"),
    "a baseline's key": (["runs", "--baseline=actr=flow"], "no setting 'actr'.*did you mean 'actor'"),
    "a baseline's value": (["runs", "--baseline=actor=flwo"], "no run has actor=flwo; there are flow, .*'flow'"),
    "no baseline": (["runs", "--baseline", "actor=flow,critic=mean"], "matches no group; the groups are flow, iqn; "),
    "two baselines": (["runs", "--baseline", "critic=iqn"], "matches several groups.*add actor"),
    "an option": (["runs", "--bye=actor"], "options are --by.*did you mean '--by'"),
    "no value": (["runs", "--by"], "expected one argument"),
    "alpha": (["runs", "--alpha=0"], r"alpha must be in \(0, 1\], got 0"),
    "alpha in words": (["runs", "--alpha=ten"], "argument --alpha: invalid float value: 'ten'; options are"),
    "a taken place": (["runs", "--out=runs/a/config.yaml"], "cannot be written: "),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_clear_line(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    for folder, actor, critic in (("a", "flow", "iqn"), ("b", "gaussian", "iqn"), ("c", "gaussian", "mean")):
        write_run(Path("runs", folder), actor=actor, critic=critic)
    write_run(Path("half", "a"))
    Path("half", "a", "summary.json").unlink()
    arguments, message = BAD[kind]
    with pytest.raises(InputError, match=message) as caught:
        main(arguments or ["--by=actor"])
    assert "\n" not in str(caught.value)
    assert not list(Path().rglob("*.part")) + list(Path().rglob("index.html"))


def test_a_second_report_leaves_nothing_of_the_first(grid):
    folder, _ = grid
    (folder / "report").mkdir()
    (folder / "report" / "mine.txt").write_text("precious")
    main([str(folder), "--baseline=actor=gaussian,risk=neutral"])
    report = folder / "report"
    assert (report / "comparison.tex").exists()
    assert list(report.glob("figures/heat-maps*.pdf"))
    main([str(folder), "--by=actor"])
    assert not (report / "comparison.tex").exists()
    assert not list(report.glob("figures/heat-maps*"))
    assert (report / "mine.txt").read_text() == "precious"


def test_files_that_are_no_reports_stay(grid, tmp_path):
    folder, _ = grid
    paper = tmp_path / "paper"
    (paper / "figures").mkdir(parents=True)
    (paper / "figures" / "losses-mine.png").write_text("precious")
    with pytest.raises(InputError, match="holds a figures that no report wrote; --out names another folder"):
        main([str(folder), f"--out={paper}"])
    assert [str(path.relative_to(paper)) for path in paper.rglob("*.*")] == ["figures/losses-mine.png"]


def test_the_documented_commands_are_understood():
    text = (Path(__file__).parents[2] / "docs" / "reports.md").read_text()
    lines = [line for block in re.findall("```sh\n(.+?)```", text, re.S) for line in block.splitlines()]
    assert len(lines) == 5
    for line in lines:
        words = shlex.split(line, comments=True)
        assert words[:2] == ["ramac", "report"]
        assert 0 < parsed(words[2:]).alpha <= 1


def test_three_digits_of_the_largest_number():
    assert [decimals([value, 0.001]) for value in (749, -75, 5.98, 0.25, 1e-9)] == [0, 1, 2, 3, 5]
    assert decimals([]) == decimals([0.0]) == decimals([math.nan]) == 0


def test_the_page_opens_in_a_browser(grid, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium")
    from matplotlib.image import imread

    folder, _ = grid
    for number, run in enumerate(sorted(folder.iterdir())):
        summary = json.loads((run / "summary.json").read_text())
        summary |= {"evaluations_per_update": {"actor": 5, "critic": 1}, "mass_ring": 0.25}
        summary["ood"]["curve"] = [{"nominal": rate, "rate": 2 * rate, "data": rate} for rate in (0.01, 0.5)]
        (run / "summary.json").write_text(json.dumps(summary))
        lines = [{"alpha": a, "predicted": a + 1, "realised": a, "low": a - 1, "high": a + 1} for a in (1.0, 0.1)]
        calibration = {"cvar": lines, "miscalibration": 0.1 + number / 100, "miscalibration_of_chance": 0.136}
        (run / "calibration.json").write_text(json.dumps(calibration))
    main([str(folder), "--baseline=actor=gaussian,risk=neutral"])
    index = folder / "report" / "index.html"
    start = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    start += [
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--enable-logging=stderr",
    ]
    start += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1300,1600"]
    picture = tmp_path / "page.png"
    done = subprocess.run(
        [*start, f"--screenshot={picture}", "--dump-dom", index.as_uri()], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr, "the page logs an error"
    dom = done.stdout
    headings = re.findall(r"<h2[^>]*>(.+?)</h2>", dom)
    assert headings == [
        "Results", "Comparison to a baseline", "Mean against CVaR", "Return distributions", "Heat maps",
        "Learning curves", "Losses", "Critic calibration", "Out-of-distribution actions", "Compute",
        "How this page was made",
    ]  # fmt: skip
    assert len(re.findall(r"<svg ", dom)) == len(list((folder / "report" / "figures").glob("*.svg"))) == 7
    shown = [re.findall(r"<td[^>]*>(?:<strong>)?([^<]*)", row) for row in re.findall(r"<tr>(<td.+?)</tr>", dom)]
    assert len(shown) == 2 * 5 + 3 + 4
    for line in (folder / "report" / "table.md").read_text().splitlines()[4:]:
        assert [cell.strip("* ") for cell in line.strip("|").split("|")] in shown
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", dom), "nothing comes from the network"
    pixels = imread(picture)[..., :3]
    assert pixels.std() > 0.05
    dark = (pixels.mean(-1) < 0.5).any(1)
    assert dark[: len(dark) // 2].any() and dark[len(dark) // 2 :].any()


def group(label: str, *seeds: np.ndarray) -> Group:
    """A group of one run per seed, of these returns."""
    frames = [pd.DataFrame({"step": 0.0, "episode": range(len(part)), "return": part}) for part in seeds]
    settings = [{"task": "x", "seed": str(seed), "evaluation.seed": "1"} for seed in range(len(seeds))]
    return Group({"name": label}, label, [Run(label, *pair) for pair in zip(settings, frames, strict=True)])


def test_a_wide_interval_makes_no_number_bold():
    noise = np.random.default_rng(0).normal(size=400)
    noise = (noise - noise.mean()) / noise.std()
    other = np.random.default_rng(1).permutation(noise)
    best, second, wide = 4.94 + 0.5 * noise, 4.72 + 0.5 * other, 3.61 + 9.0 * other[::-1]
    assert outstanding([group("a", second), group("b", best), group("c", wide)], 1.0) == (1,)
    assert outstanding([group("a", best), group("b", best + 0.001 * other), group("c", best - 2)], 1.0) == (0, 1)
    assert outstanding([group("a", noise), group("b", other)], 1.0) == ()
    assert outstanding([group("a", noise), group("b", noise), group("c", noise - 0.01)], 1.0) == (0, 1)
    seeds = [np.full(5, value) for value in (1.0, 2.0, 3.0)]
    assert outstanding([group("a", *seeds), group("b", *(part - 0.1 for part in reversed(seeds)))], 0.2) == ()
    assert outstanding([group("a", *seeds), group("b", *(part - 0.5 for part in seeds))], 0.2) == (0,)


def test_the_test_of_a_difference_is_scipys():
    random = np.random.default_rng(0)
    a, b, c = random.normal(size=8), random.normal(0.7, 2, size=8), random.normal(1, 3, size=5)
    assert different(a, b, paired=True) == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert different(a, c) == pytest.approx(stats.ttest_ind(a, c, equal_var=False).pvalue)
    assert different(a, a, paired=True) == different(np.ones(3), np.ones(4)) == different(a[:1], b) == 1
    assert different(np.zeros(3), np.ones(4)) == 0


def test_pictures_and_films_of_a_run_are_in_the_page(grid, tmp_path):
    folder, _ = grid
    run = folder / "x0"  # the first seed of a group
    (run / "evaluations" / "1").mkdir(parents=True)
    picture, film = b"\x89PNG\r\n\x1a\n" + b"p" * 99, b"\0\0\0\x18ftypmp42" + b"f" * 99
    (run / "bandit.png").write_bytes(picture)
    (run / "evaluations" / "1" / "episode.mp4").write_bytes(film)
    (run / "returns.png").write_bytes(b"<script>")
    (tmp_path / "secret.png").write_bytes(picture)
    (folder / "x6" / "bandit.png").symlink_to(tmp_path / "secret.png")
    report([folder], quiet=True)
    page = (folder / "report" / "index.html").read_text()
    data = re.findall(r"""src="data:(image/png|video/mp4);base64,([^"]*)\"""", page)
    assert [(kind, base64.b64decode(text)) for kind, text in data] == [("image/png", picture), ("video/mp4", film)]
    assert "2 files are left out" in page
