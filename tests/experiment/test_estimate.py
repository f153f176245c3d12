"""The estimate of a run without an environment: how long, or none, and what depends on it."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ramac.agent import Agent
from ramac.cli._results import show
from ramac.data import Log, from_arrays
from ramac.errors import InputError
from ramac.experiment.compose import compose
from ramac.experiment.config import RunConfig
from ramac.experiment.estimate import rank
from ramac.experiment.fits import steps_of
from ramac.experiment.grid.cell import told
from ramac.experiment.objective import value
from ramac.experiment.run import train
from ramac.reporting.runs import gather
from ramac.spec import Spec

LOGS = ("task=logs", "actor=gaussian", "actor.hidden=[8]", "critic=qr8", "critic.hidden=[8]", "trainer.steps=6")


def decisions() -> Log:
    """50 episodes of one step with a random reward."""
    random, ones = np.random.default_rng(0), np.ones(50)
    return from_arrays(np.zeros((50, 1)), random.uniform(-1, 1, (50, 1)), random.normal(size=50), ones, 0 * ones)


def train_on_logs(*words: str) -> tuple[RunConfig, dict[str, Any]]:
    config = compose([*LOGS, "data=none", f"run_dir={Path('run').absolute()}", *words])
    (summary,) = train(config, decisions(), quiet=True)
    return config, summary


def test_the_estimate_of_a_run_is_no_longer_than_its_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, summary = train_on_logs("estimate.fits=3")
    found = json.loads(Path("run/estimate.json").read_text())
    assert (found["steps"], found["fits"]) == (6, 3)
    assert summary["estimate"]["intervals"]["mean"] == [found["policy"]["cvar"][0][end] for end in ("low", "high")]
    assert "of the estimate is its first guess" in found["verdict"]
    assert [steps_of({"steps": asked}, 9000) for asked in (None, 7000, 0)] == [3000, 7000, 0]


@pytest.mark.parametrize("off", ["estimate=none", "estimate.steps=0"])
def test_a_run_without_an_estimate_says_how_to_get_one(off, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config, summary = train_on_logs(off)
    assert "estimate" not in summary
    assert not Path("run/estimate.json").exists()
    assert math.isnan(value(summary, config.path_of_objective))
    assert told(summary).startswith("no result; ")
    show(summary)
    assert f"there is no estimate: ramac estimate {Path('run').absolute()}" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"no episodes without an environment; ramac estimate .*run judges it"):
        gather(["run"])
    with pytest.raises(InputError, match=r"choose from ood.rate, .*; estimate.steps=0 makes no estimate"):
        compose([*LOGS, "data=x", off, "objective=estimate.mean"])


def test_the_estimate_is_part_of_the_result_only_where_nothing_is_played():
    settings = [["estimate.fits=3"], ["estimate.fits=4"]]
    logs, bandit = ([compose([*words, *more]).identity for more in settings] for words in ([*LOGS, "data=x"], []))
    assert logs[0] != logs[1]
    assert bandit[0] == bandit[1]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("estimate.stepz=3", "no setting 'estimate.stepz'; estimate has steps, fits; did you mean 'steps'"),
        ("estimate.steps=-1", "estimate.steps must be a whole number from 0 to 4294967295, got -1"),
        ("estimate.fits=1", "estimate.fits must be a whole number from 2 to 100, got 1"),
        ("estimate=all", "estimate must be none, or steps and fits: estimate.steps=1000; got 'all'"),
    ],
)
def test_wrong_settings_of_the_estimate_are_refused(word, message):
    with pytest.raises(InputError, match=message):
        compose([*LOGS, "data=x", word])


def test_checkpoints_are_ranked_by_the_measure_of_whole_returns():
    """With a range by its first end: of 1, 2, ..., 10 the CVaR_0.2 is 1.5, of 4 ten times 4."""
    spec = Spec.unit(3, 1)
    risk = {"name": "cvar", "alpha": (0.2, 0.9), "horizon": "episode"}
    agent = Agent.build({"actor": "deterministic", "critic": "qr", "risk": risk}, spec)
    distance = {"action_rms": 0.0, "ood": None}
    laws = {1: list(range(1, 11)), 2: [4.0] * 10}
    policy = {step: {"quantiles": law, "cvar": [{"alpha": 1, "estimate": 0}]} for step, law in laws.items()}
    reports = {step: {"policy": found, "distance": distance} for step, found in policy.items()}
    found = rank(dict.fromkeys(laws, agent), reports, SimpleNamespace(spec=spec))
    assert found["rule"] == "highest estimated cvar0.2" and found["chosen"] == 2
    assert [row["score"] for row in found["rows"]] == pytest.approx([4, 1.5])
