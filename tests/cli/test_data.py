"""`ramac data`: what is listed, shown, built and found, each in readable lines."""

import re

import numpy as np
import pytest

from ramac.cli.data import histogram, main
from ramac.data import from_arrays
from ramac.data.check import findings
from ramac.data.describe import describe
from ramac.errors import InputError
from trials.datasets import arrays, store, write_d4rl, write_policy
from trials.processes import ran


def data(*words):
    return ran("data", *words, COLUMNS="160")


def test_build_list_and_show(tmp_path):
    for name in ("low", "high"):
        write_policy(tmp_path / f"{name}.npz")
    settings = (f"policies={tmp_path}", "behaviour=[low,high]", "transitions=300")
    first = data("build", "hopper-medium-expert", *settings)
    assert first.returncode == 0, first.stderr
    (name,) = re.findall(r"(ramac/hopper/custom-\w{8}-300-v1): built", first.stdout)
    assert "100%" in first.stderr or "step/s" in first.stderr, "a progress bar"
    assert "already there" in data("build", "hopper-medium-expert", *settings).stdout
    listed = data("list").stdout
    assert name in listed
    assert "Hopper-v5" in listed
    assert "walker2d-mixed" in listed
    shown = data("show", "hopper-medium-expert", *settings).stdout
    for word in ("episodes", "CVaR 0.1", "risky steps", "penalties", "D4RL score", "MB in", "█"):
        assert word in shown, word
    plain = data("show", name).stdout
    assert "risky steps" not in plain, "a Minari id as such has no hazards"


def test_show_under_another_hazard(tmp_path, capsys):
    path = write_d4rl(tmp_path / "x.hdf5", **arrays())
    sure = ("hazard=pose", "hazard.low=-0.001", "hazard.high=0.001", "hazard.probability=1")
    assert main(["show", "hopper-mixed", f"data={path}", *sure]) == 0
    out = capsys.readouterr().out
    assert "100.0%, 28 penalties" in out
    assert main(["show", "hopper-mixed", f"data={path}", "hazard=ramac-v2", "horizon=5"]) == 0
    assert "first 5 steps" in capsys.readouterr().out


def test_show_a_file(tmp_path, capsys):
    assert main(["show", write_d4rl(tmp_path / "x.hdf5", **arrays())]) == 0
    out = capsys.readouterr().out
    assert "3, 1 end in a terminal state" in out
    assert "28 steps" in out


def test_places_with_the_signs_of_settings(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "runs=1").mkdir()
    path = write_d4rl("runs=1/x.hdf5", **arrays())
    for name, steps in ((path, 28), (f"d4rl:{path}", 28), (f"{path}+{path}", 56), (f"~/{path}", 28)):
        assert main(["show", name]) == 0
        assert f"{steps // 28 * 3}, {steps // 28} end in a terminal state" in capsys.readouterr().out
        assert main(["check", name, "columns.actions=actions"]) in (0, 1)
        assert f" {steps} steps" in capsys.readouterr().out
    (tmp_path / "runs=1" / "x.txt").touch()
    for name, message in (
        ("runs=1/x.txt", "its ending says no format"), ("d4rl:runs=1/y.hdf5", "no file 'runs=1/y.hdf5'"),
        ("runs=2/x.hdf5", "needs one Minari id or file, got 0"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            main(["check", name])


def test_figures_of_a_log():
    """Two episodes of 3 and 2 steps, against a plain count."""
    none, rewards = np.zeros((5, 1)), [1.0, 2.0, 4.0, 8.0, 16.0]
    log = from_arrays(none, none, rewards, [0, 0, 1, 0, 0], [0, 0, 0, 0, 1], none)
    figures = describe(log, horizon=2)
    assert (figures["episodes"], figures["steps"], figures["terminal"]) == (2, 5, 1)
    assert (figures["return_mean"], figures["return_min"], figures["return_max"]) == (13.5, 3, 24)
    assert figures["return_cvar"]["0.1"] == 3
    assert "hazard_rate" not in figures
    lines = histogram(log.returns(), bins=2).splitlines()
    assert lines[1].endswith(" 1") and lines[2].endswith(" 1")


@pytest.mark.parametrize(
    ("change", "level", "text"),
    [
        ({}, "ok", "30 steps in 3 episodes; 11 numbers per observation, 3 per action"),
        ({}, "ok", "all numbers finite, all actions inside [-1, 1]"),
        ({}, "ok", "1 episodes end in a terminal state, 2 are cut and bootstrap"),
        ({}, "ok", "no step repeats another's observation and action"),
        ({"rewards": np.full(30, np.nan)}, "error", "reward is nan or infinite in 30 of 30 steps, first at step 0"),
        ({"actions": np.full((30, 3), 2.0)}, "error", "actions outside the box [-1, 1] in 30 of 30 steps"),
        ({"timeouts": np.zeros(30)}, "error", "1 steps are not followed by their next observation, first at step 9"),
        ({"terminals": np.zeros(30), "timeouts": np.zeros(30)}, "warning", "one episode only"),
        ({"rewards": np.full(30, 3.0)}, "warning", "every reward is 3"),
        ({"actions": np.zeros((30, 3))}, "warning", "action never varies in coordinates [0, 1, 2]"),
        (
            {"rewards": np.float32(1e8 + np.arange(30) % 3 * 8)},
            "warning",
            "reward has only 3 distinct values, 8 apart, as float32 rounds at 1e+08: subtract an offset before they are"
            " stored",
        ),
    ],
)
def test_findings(change, level, text):
    given = arrays()
    after = np.roll(given["observations"], -1, 0)
    after[9::10] += 1  # ends of episodes do not continue
    given = {**given, "next_observations": after, **change}
    lines = list(findings(from_arrays(**given), np.full(3, -1.0), np.full(3, 1.0)))
    assert any(line.level == level and text in line.text for line in lines), lines


def test_repeated_steps_are_counted():
    given = arrays()
    for key in ("observations", "actions"):
        given[key][20:25] = given[key][3:8]
    lines = list(findings(from_arrays(**given), np.full(3, -1.0), np.full(3, 1.0)))
    assert [line.text for line in lines if "repeat" in line.text] == [
        "5 steps (17.9%) repeat the observation and action of another"
    ]


def test_columns_that_float32_cannot_hold_are_named():
    given = arrays()
    time = 1.7e9 + 100 * np.random.default_rng(0).normal(size=30)
    box = np.full(3, -1.0), np.full(3, 1.0)
    for kind, named in ((np.float32, True), (np.float64, False)):
        given["observations"] = np.hstack([given["observations"][:, :3], time[:, None]]).astype(kind)
        lines = [line.text for line in findings(from_arrays(**given), *box) if "distinct" in line.text]
        assert [line[:35] for line in lines] == ["observation 3 has only 4 distinct v"] * named


def test_check_ends_with_1_on_an_error(tmp_path, capsys):
    given = arrays()
    assert main(["check", write_d4rl(tmp_path / "good.hdf5", **given)]) == 0
    assert "the box of actions is taken to be [-1, 1]" in capsys.readouterr().out
    given["actions"][3] = np.nan
    path = write_d4rl(tmp_path / "bad.hdf5", **given)
    assert main(["check", path, "environment=Hopper-v5"]) == 1
    out = capsys.readouterr().out
    assert "error    action is nan or infinite in 1 of 28 steps, first at step 3" in out
    assert "taken to be" not in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shwo"], "no command 'data shwo'; choose from list, show, build, check, convert; did you mean 'show'"),
        (["show"], "data show needs one task, Minari id or file, got 0"),
        (["build"], "data build needs a task; choose from halfcheetah-medium-expert"),
        (["build", "bandit"], "task=bandit has no data to build"),
        (["build", "hoper-mixed"], "no task 'hoper-mixed'.*did you mean 'hopper-mixed'"),
        (["build", "hopper-mixed", "transitions=0"], "transitions must be at least 1, got 0"),
        (["build", "hopper-mixed", "transitoins=5"], "did you mean 'transitions'"),
        (["show", "hopper-mixed"], "not built yet: ramac data build hopper-mixed"),
        (["show", "hoppermixed"], "is no task, no Minari id and no file; did you mean 'hopper-mixed'"),
        (["check", "nowhere.hdf5"], "no file 'nowhere.hdf5'"),
        (["check", "x.hdf5", "env=Hopper-v5"], "data check has no setting 'env'"),
    ],
)
def test_bad_words_are_refused(words, message):
    with pytest.raises(InputError, match=message):
        main(words)


def test_check_names_what_does_not_fit_the_environment(capsys):
    name, cheetah = store(), store("bad/cheetah-v0", obs_dim=17, act_dim=6, env="HalfCheetah-v5")
    for data_id, environment, text in (
        (name, "HalfCheetah-v5", "actions have shape (3,), not (6,)"),
        (cheetah, "Walker2d-v5", "was collected in HalfCheetah-v5, not in Walker2d-v5"),
        (
            name,
            "CartPole-v1",
            "its actions are Discrete(2), not vectors of real numbers; no actor here has",
        ),
    ):
        assert main(["check", data_id, f"environment={environment}"]) == 1
        assert text in capsys.readouterr().out
