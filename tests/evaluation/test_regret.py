"""Regret of policies whose returns are known, and `ramac doctor task=NAME`."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import ramac
from ramac.cli import doctor
from ramac.errors import InputError
from ramac.evaluation.regret import optima, regret
from ramac.evaluation.rollout import Evaluation
from ramac.registry import hazards, tasks


class Always:
    """A policy of one action."""

    risk = None
    acting = SimpleNamespace(candidates=1)
    actor = SimpleNamespace(scaling=SimpleNamespace(centre=torch.zeros(1)))

    def __init__(self, action):
        self.action = np.array([action], np.float32)

    def act(self, observation):
        return np.repeat(self.action[None], len(observation), 0)


@pytest.mark.parametrize(("action", "mean", "tail"), [(-1.0, 10, 1), (1.0, 15, -2)])
def test_regret_on_the_chain_is_that_of_the_played_policy(action, mean, tail):
    """Always safe: 1 + 10 with 90 %. Always the gamble: 15, and a worst tenth of -10 (0.02) and 0 (0.08)."""
    found = regret(Always(action), tasks.build("chain"), Evaluation(episodes=1000, environments=500), 0, 0.1)
    assert found["episodes"] == 1000
    best = {"mean": 15, "nested": 1, "static": 6}
    for row in found["rows"]:
        true = mean if row["objective"] == "mean" else tail
        assert row["optimum"] == pytest.approx(best[row["objective"]])
        assert row["grid_error"] < 1e-9
        assert row["regret"] == pytest.approx(row["optimum"] - row["reached"])
        assert row["low"] - 1e-9 <= row["reached"] <= row["high"] + 1e-9  # equal returns, rounded
        assert row["reached"] == pytest.approx(true, abs=1.5)


def test_not_trading_has_no_regret_of_static_cvar(monkeypatch):
    monkeypatch.setattr("ramac.evaluation.regret.FINENESS", (1, 1))  # the finer grid takes seconds
    found = regret(Always(0.0), tasks.build("trading"), Evaluation(episodes=10), 0, 0.1)
    rows = {row["objective"]: row for row in found["rows"]}
    assert rows["static"]["regret"] == 0
    assert rows["mean"]["regret"] == pytest.approx(1.704, abs=0.001)
    assert rows["mean"]["grid_error"] == 0


def test_a_hazard_of_the_users_has_no_known_optimum():
    task = tasks.build("chain")
    task.use(hazard=hazards.build("velocity"))
    with pytest.raises(InputError, match="known without hazards only, and this task sets one"):
        optima(task, 0.1)
    with pytest.raises(InputError, match="known without hazards only, and this run's configuration sets one"):
        regret(Always(0.0), task, Evaluation(episodes=1), 0, 0.1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    words = "task=chain", "actor=deterministic", "critic=qr4", "risk=cvar0.25", "trainer.steps=2"
    small = {"batch_size": 8}
    place = tmp_path_factory.mktemp("runs") / "010"
    return ramac.train(*words, trainer=small, evaluation={"episodes": 2}, run_dir=str(place), quiet=True).folder


def test_the_regret_of_a_run_is_printed_and_written(run, capsys, monkeypatch):
    monkeypatch.chdir(run.parent)
    assert doctor.main(["task=chain", "run=010", "episodes=50", "task.transitions=300"]) == 0
    shown = capsys.readouterr().out
    assert "010: 50 episodes, CVaR at 0.25" in shown  # the run's level, and a folder that is no number
    assert "numbers: 010/regret.json" in shown
    written = json.loads((run / "regret.json").read_text())
    assert [row["objective"] for row in written["rows"]] == ["mean", "nested", "static"]
    assert (written["alpha"], written["episodes"]) == (0.25, 50)
    for row in written["rows"]:
        assert f"{row['optimum']:.3f}" in shown
    assert doctor.main(["run=010", "alpha=0.1", "episodes=20"]) == 0, "the task is the run's"
    assert "CVaR rests on 2.0 episodes" in capsys.readouterr().out
    assert json.loads((run / "regret.json").read_text())["alpha"] == 0.1
    again = ramac.check_policy(run, alpha=0.1, episodes=20)
    assert (again.folder, list(again.rows["optimum"])) == (run, pytest.approx([15, 1, 6]))


def test_what_is_known_of_a_task_is_printed(capsys):
    assert doctor.main(["task=chain"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "│" in line]
    numbers = {line[1]: [float(x) for x in line if x.replace(".", "").lstrip("-").isdigit()] for line in lines}
    assert numbers == {"mean": [15, 0, -2, 0], "nested": [10, 0, 1, 0], "static": [6, 0]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task=chian"], "no task 'chian'.*did you mean 'chain'"),
        (["task=hopper-mixed"], "task=hopper-mixed has no known best policy; choose from bandit, chain, trading"),
        (["task=chain", "task.contxt=1"], "no setting 'task.contxt'; task=chain has"),
        (["task=chain", "alpha=0"], r"alpha must be a number in \(0, 1\], got 0"),
        (["task=chain", "alpha=x"], r"alpha must be a number in \(0, 1\], got 'x'"),
        (["task=chain", "alpha=true"], r"alpha must be a number in \(0, 1\], got True"),
        (["task=chain", "alpha="], r"alpha must be a number in \(0, 1\], got nothing"),
        (["task="], "no task ''; choose from bandit, chain"),
        (["run="], "run must be a run folder, got ''"),
        (["task=chain", "critic=iqn"], "doctor has no setting 'critic'; choose from run, task, .*, seed, risk$"),
        (["task=chain", "tas=1"], "no setting 'tas'; choose from .*; did you mean 'task'\\?"),
        (["task=chain", "episodes=3"], "episodes= goes with run=RUN"),
        (["task=chain", "my-run"], "doctor task=NAME takes settings, got 'my-run'; a run is named by run=my-run"),
        (["task=chain", "run=nowhere"], "nowhere is no run folder"),
    ],
)
def test_wrong_words_are_refused(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        doctor.main(words)
    assert not list(tmp_path.iterdir())


def test_another_task_than_the_run_s_is_refused(run):
    with pytest.raises(InputError, match="010 is a run of task=chain, not of task=trading; leave out task="):
        doctor.main(["task=trading", f"run={run}", "episodes=5"])


@pytest.mark.parametrize("setting", ["video", "name", "hazard"])
def test_what_has_no_effect_on_the_regret_is_refused(run, setting):
    with pytest.raises(InputError, match=f"doctor has no setting {setting!r}; choose from task, alpha, episodes, seed"):
        ramac.check_policy(run, **{setting: "1"})
