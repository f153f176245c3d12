"""A run with a dial played at values of it: one evaluation, the frontier, regret, and what is refused."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import ramac
from ramac.cli.eval import main
from ramac.errors import InputError
from ramac.evaluation import regret
from ramac.experiment.calibrate import examine
from ramac.experiment.evaluate import evaluate, request
from ramac.experiment.folder import RunFolder
from ramac.experiment.frontier import frontier
from ramac.experiment.regret import regret_of
from ramac.plotting import label_dots
from ramac.statistics import interval

SHORT = ("task=trading", "actor=deterministic", "critic=qr4", "actor.hidden=[8]", "critic.hidden=[8]")
SHORT += ("trainer.steps=2", "trainer.batch_size=8", "evaluation.episodes=20", "task.transitions=2000")


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch, small_figures):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        ramac.train(*SHORT, "risk=cvar", "risk.alpha=[0.05,1]", "run_dir=dial", quiet=True)
        ramac.train(*SHORT, "risk=cvar0.25", "seed=3", "run_dir=single", quiet=True)
    return folder


@pytest.fixture
def run(trained) -> Path:
    """Copies of the finished runs `dial` and `single`."""
    shutil.copytree(trained / "single", "single")
    return Path(shutil.copytree(trained / "dial", "dial"))


def returns(folder) -> list[float]:
    with (Path(folder) / "episodes.csv").open() as file:
        return [float(row["return"]) for row in csv.DictReader(file)]


def test_a_run_is_played_at_the_value_that_is_asked_for(run):
    assert RunFolder(run).summary["dial"] == {"alpha": 0.05}
    found = evaluate(run, {"risk.alpha": 0.3})
    folder = run / "evaluations" / "risk.alpha=0.3"
    assert found["run_dir"] == str(folder)
    assert json.loads((folder / "summary.json").read_text())["dial"] == {"alpha": 0.3}
    agent = ramac.load(run)
    agent.context.turn("alpha", 0.3)
    _, task, evaluation = request(RunFolder(run), RunFolder(run).config, {})
    assert returns(folder) == [row["return"] for row in evaluation.run(agent, task, 0)]
    assert returns(folder) != returns(run)  # played at 0.05
    assert returns(evaluate(run, {"risk.alpha": 0.05})["run_dir"]) == returns(run)


def test_the_frontier_is_that_of_the_evaluations(run):
    found = ramac.evaluate(run, risk={"alpha": [0.05, 1]}, alpha=0.25, episodes=16, beside=["single"], quiet=True)
    assert json.loads((run / "frontier.json").read_text()) == found.summary
    assert (run / "frontier.png").stat().st_size > 0
    folders = [run / "evaluations" / f"episodes=16,risk.alpha={value}" for value in ("0.05", "1")]
    folders += [Path("single/evaluations/episodes=16,seed=0")]  # of the same episodes
    assert found.rows["dial"].tolist()[:2] == [0.05, 1]
    assert found.rows["risk"].tolist() == ["cvar0.05to1", "cvar0.05to1", "cvar0.25"]
    for folder, (_, row) in zip(folders, found.rows.iterrows(), strict=True):
        value = np.sort(returns(folder))
        assert len(value) == 16
        assert row["mean"] == pytest.approx(value.mean())
        assert row["cvar"] == pytest.approx(value[:4].mean())
        assert (row["mean_low"], row["mean_high"]) == interval([np.array(returns(folder))], np.mean)
        assert row["cvar_low"] <= row["cvar"] <= row["cvar_high"]


def test_a_run_of_the_same_episodes_is_not_played_again(run):
    again = Path("again")
    ramac.train(*SHORT, "risk=cvar0.5", f"run_dir={again}", quiet=True)
    found = frontier(run, {"risk.alpha": [0.1, 0.5], "beside": again})
    assert not (again / "evaluations").exists()
    assert found["rows"][-1]["mean"] == pytest.approx(np.mean(returns(again)))
    assert found["alpha"] == 0.1
    assert found["episodes"] == 20


def test_dots_at_one_place_share_a_label():
    axes = Figure().subplots()
    axes.set(xlim=(0, 10), ylim=(0, 10))
    places = {0.05: (5, 5), 0.1: (5, 5.1), 0.5: (5, 8), 1: (9, 5)}
    label_dots(axes, [{"dial": value, "cvar": x, "mean": y} for value, (x, y) in places.items()], "black", 1)
    assert [text.get_text() for text in axes.texts] == ["0.05, 0.1", "0.5", "1"]


def test_the_command_reads_several_values(run, capsys):
    assert main(["dial", "risk.alpha=0.05,0.5", "beside=single"]) == 0
    shown = capsys.readouterr().out
    assert "20 episodes at each value of risk.alpha" in shown
    assert "cvar0.25: single" in shown
    assert [row["dial"] for row in json.loads((run / "frontier.json").read_text())["rows"]] == [0.05, 0.5, None]
    assert main(["dial", "risk.alpha=0.7"]) == 0
    assert "dial: risk.alpha=0.7" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"risk.alpha": 0.01}, "risk.alpha=0.01 is outside the range of the training, [0.05, 1]"),
        ({"risk.alpha": "x"}, "risk.alpha must be a number in [0.05, 1], got 'x'"),
        ({"risk.alpha": True}, "risk.alpha must be a number in [0.05, 1], got True"),
        ({"risk.alpha": float("nan")}, "risk.alpha=nan is outside the range of the training, [0.05, 1]"),
        ({"risk.eta": 0.1}, "risk.eta is no dial of dial, whose risk=cvar0.05to1 has risk.alpha"),
        ({"risk": "wang"}, "risk=wang: the measure is that of the training, cvar0.05to1; risk.NAME=VALUE sets a dial"),
        ({"risk.alpha": []}, "risk.alpha=[] has no value"),
        ({"risk.alpha": [0.1, 0.1]}, "risk.alpha has the value 0.1 twice"),
        ({"risk.alpha": [0.1, 2]}, "risk.alpha=2 is outside the range of the training, [0.05, 1]"),
        ({"risk.alpha": [0.1, 0.2], "risk.eta": [1, 2]}, "risk.alpha and risk.eta have several values each"),
        ({"risk.alpha": [0.1, 0.2], "name": "a"}, "name= is one folder, and each value of a dial has its own"),
        ({"risk.alpha": [0.1, 0.2], "alpha": 2}, "alpha must be a number in (0, 1], got 2"),
        ({"risk.alpha": 0.1, "alpha": 0.1}, "alpha= goes with several values of a dial"),
        ({"risk.alpha": [0.1, 0.2], "beside": "dial"}, "beside=dial has a dial itself, risk.alpha"),
        ({"risk.alpha": [0.1, 0.2], "beside": ["single", "single"]}, "beside has single twice"),
        ({"risk.alpha": [0.1, 0.2], "beside": "hazard"}, "beside=hazard has hazard=velocity, and dial None"),
        ({"risk.alpha": [0.1, 0.2], "beside": 3}, "beside must be run folders, got 3"),
        ({"risk.alpha": [0.1, 0.2], "beside": "other"}, "beside=other has task.transitions=2000, and dial 1000"),
    ],
)
def test_what_cannot_be_played_is_refused_before_an_episode(run, settings, message):
    if settings.get("beside") == "other":
        shutil.copytree("single", "other")
        config = run / "config.yaml"
        config.write_text(config.read_text().replace("transitions: 2000", "transitions: 1000"))
    if settings.get("beside") == "hazard":
        config = Path(shutil.copytree("single", "hazard")) / "config.yaml"
        config.write_text(config.read_text().replace("hazard: null", "hazard: {name: velocity}"))
    with pytest.raises(InputError) as caught:
        ramac.evaluate(run, **settings)
    assert message in str(caught.value)
    assert not (run / "evaluations").exists()
    assert not (run / "frontier.json").exists()


def test_a_run_of_one_level_has_no_dial(run):
    with pytest.raises(InputError, match=r"risk=cvar0.25 of single has no range, .*train with risk.alpha=\[LOW,HIGH\]"):
        evaluate(Path("single"), {"risk.alpha": 0.1})
    with pytest.raises(InputError, match=r"single has no range, so risk.horizon has no effect$"):
        evaluate(Path("single"), {"risk.horizon": "episode"})


def test_the_regret_at_a_level_is_played_at_this_level(run, monkeypatch):
    rows = {name: {"mean": 0.0, "mean_error": 0.0, "cvar": 0.0, "cvar_error": 0.0} for name in regret.OBJECTIVES}
    monkeypatch.setattr(regret, "optima", lambda *_: rows)
    found = regret_of(run, {"alpha": 0.25, "episodes": 20})
    assert found["dial"] == {"alpha": 0.25}
    value = np.array(returns(evaluate(run, {"risk.alpha": 0.25})["run_dir"]))
    assert {row["objective"]: row["reached"] for row in found["rows"]}["mean"] == pytest.approx(value.mean())
    assert regret_of(run, {"alpha": 0.01, "episodes": 2})["dial"] == {"alpha": 0.05}  # outside the range
    assert regret_of(run, {"alpha": 0.25, "risk.alpha": 0.7, "episodes": 2})["dial"] == {"alpha": 0.7}
    assert "dial" not in regret_of(Path("single"), {"alpha": 0.25, "episodes": 2})


def test_the_problems_of_doctor_have_no_dial():
    with pytest.raises(InputError, match="reads alpha of an observation, which the problems of doctor do not have"):
        examine(["critic=qr4", "risk=cvar", "risk.alpha=[0.05,1]"])
