"""The tables of `ramac report`: its numbers against plain formulas, and what is bold."""

import json
import math
import re
from html import unescape
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from ramac.cli.report import main
from ramac.registry import tasks
from ramac.reporting import report
from ramac.reporting.bold import outstanding
from ramac.reporting.formats import decimals
from ramac.statistics import different
from tests.reporting.samples import group, rows, worst, write_run


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
    page = (folder / "report" / "index.html").read_text()
    assert "Comparison to a baseline" not in page
    assert "To compare the groups with one of them: --baseline actor=flow,risk=cvar0.1<" in page


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


def test_rates_by_the_rule_of_version_01_are_marked(tmp_path):
    write_run(tmp_path / "new", episodes=50)
    write_run(tmp_path / "old", actor="gaussian", episodes=50, summary={"ood": {"rate": 0.3}})
    found = report([tmp_path], quiet=True)
    assert found.warnings == []
    text = (tmp_path / "report" / "table.md").read_text()
    assert text.endswith("\n\nOOD actions by the rule of ramac 0.1, not to be compared with others: gaussian.\n")
    assert found.tables["results"]["ood_rate"].tolist()[:2] == [0.1, 0.3]


def test_three_digits_of_the_largest_number():
    assert [decimals([value, 0.001]) for value in (749, -75, 5.98, 0.25, 1e-9)] == [0, 1, 2, 3, 5]
    assert decimals([]) == decimals([0.0]) == decimals([math.nan]) == 0


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
