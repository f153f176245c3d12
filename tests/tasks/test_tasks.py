"""Tasks declare what they add to a summary, and answer the same questions whatever their class."""

import gymnasium
import numpy as np
import pytest

from ramac.data import from_arrays
from ramac.data.ood import Detector
from ramac.errors import InputError
from ramac.registry import paper, summary, tasks
from ramac.tasks.bandit import figure, region, shares
from trials.datasets import arrays

MUJOCO = {  # task -> environment, horizon, return of a random and of an expert policy (D4RL), what v1 says
    "halfcheetah-medium-expert": ("HalfCheetah-v5", 200, -280.178953, 12135.0, "beyond 5 m/s either way", 70, 5),
    "halfcheetah-mixed": ("HalfCheetah-v5", 200, -280.178953, 12135.0, "beyond 4 m/s either way", 60, 5),
    "hopper-medium-expert": (
        *("Hopper-v5", 500, -20.272305, 3234.3), *("with a pitch outside [-0.17, 0.04] rad", 50, 10),
    ),
    "hopper-mixed": ("Hopper-v5", 500, -20.272305, 3234.3, "with a pitch outside [-0.1, 0.1] rad", 50, 10),
    "walker2d-medium-expert": ("Walker2d-v5", 500, 1.629008, 4592.3, "with a pitch outside [-0.5, 0.5] rad", 30, 10),
    "walker2d-mixed": ("Walker2d-v5", 500, 1.629008, 4592.3, "with a pitch outside [-0.5, 0.5] rad", 30, 10),
}  # fmt: skip


@pytest.mark.parametrize("name", MUJOCO)
def test_the_six_tasks_are_as_published(name):
    environment, horizon, low, high, when, penalty, percent = MUJOCO[name]
    task, (stem, _, mix) = tasks.build(name), name.partition("-")
    assert task.environment_id == environment
    assert task.horizon == horizon
    assert task.score(low) == pytest.approx(0)
    assert task.score(high) == pytest.approx(100)
    assert task.dataset_id == f"ramac/{stem}/{mix}-100000-v1"
    assert task.behaviour[:2] == ((f"{stem}-a-010", f"{stem}-b-010") if mix == "mixed"
                                  else (f"{stem}-a-050", f"{stem}-b-050"))  # fmt: skip
    entry = tasks[name]
    said = f"{environment}, {horizon} steps; {when} a penalty of {penalty} strikes with {percent} % per step."
    assert summary(entry).startswith(said)
    assert paper(entry) == (f"Fukazawa et al. 2026, RAMAC (Stochastic-D4RL, {mix.replace('mixed', 'medium-replay')})")
    assert (task.hazard.penalty, task.hazard.probability) == (-penalty, percent / 100)


def test_the_classes_of_the_table_are_told_apart():
    assert len({tasks[name] for name in MUJOCO}) == 6
    assert tasks["hopper-medium-expert"].__name__ == "HopperMediumExpert"
    assert tasks["halfcheetah-mixed"].__module__ == "ramac.tasks.mujoco"
    assert summary(tasks["walker2d-mixed"]).startswith("Walker2d-v5")


@pytest.mark.parametrize("name", ["bandit", "chain", "gymnasium", "logs", "trading", *MUJOCO])
def test_every_task_answers_the_same_questions(name):
    task = tasks.build(name)
    assert task.source is None
    assert (task.dataset_id is not None) == task.builds_data == (name in MUJOCO)
    assert (task.score(5.0) is not None) == (name in MUJOCO)
    assert len({column.key for column in task.columns}) == len(task.columns) > 0
    for column in task.columns:
        assert f"{0.5:{column.style}}" in ("50.0%", "0.5")
    if not task.builds_data:
        with pytest.raises(InputError, match="has no data to build"):
            task.build()


def test_the_bandit_reports_its_columns(tmp_path):
    task = tasks.build({**tasks.plain("bandit"), "transitions": 400})
    data, ring = task.dataset(), np.tile(np.array([[0.9, 0]], np.float32), (10_000, 1))
    fields = task.report(lambda observation: ring, data, np.zeros(1), "a title", tmp_path)
    columns = [column.key for column in task.columns if column.key != "mass_rare"]
    assert list(fields) == [start + column for start in ("", "data_") for column in columns]
    assert [fields[column] for column in columns] == [0, 1, 0]
    assert fields["data_mass_centre"] == np.mean(region(data.log.action) == 0)
    assert (tmp_path / "bandit.png").read_bytes().startswith(b"\x89PNG")


def test_the_figure_of_the_bandit_names_the_regions(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("ramac.plotting.save", lambda canvas, path: drawn.append(canvas))
    action = np.array([[0, 0], [0.9, 0], [0.9, 0], [0.5, 0]])
    figure(action, np.array([5.0, 9.0, -50.0, 0.0]), action, "a title", tmp_path / "x.png")
    assert drawn[0].axes[1].get_title() == "a title\ncentre 25.0%, ring 50.0%, outside the data 25.0%"
    assert {round(patch.radius, 2) for patch in drawn[0].axes[0].patches} == {0.3, 0.75, 1.1}
    assert sum(shares(action).values()) == 1


def test_a_logged_task_reports_its_score_and_its_out_of_distribution_actions(tmp_path):
    task = tasks.build({**tasks.plain("hopper-mixed"), "hazard": "none"})
    task.use(data=from_arrays(**arrays()))
    data = task.dataset()
    fields = task.report(lambda observation: np.zeros((len(observation), 3)), data, np.array([3234.3]), "t", tmp_path)
    assert fields["score"] == pytest.approx(100)
    assert fields["ood"]["states"] == len(data.log.reward)
    assert [column.key for column in task.columns] == ["score"]


def test_too_few_data_for_the_detector_are_said(tmp_path, capsys):
    task = tasks.build({**tasks.plain("gymnasium"), "environment": "Hopper-v5"})
    task.use(data=from_arrays(**arrays(11)))
    fields = task.report(lambda observation: np.zeros((len(observation), 3)), task.dataset(), np.ones(2), "t", tmp_path)
    assert fields == {}
    assert "no share of out-of-distribution actions: 10 logged steps of other episodes" in capsys.readouterr().err


def test_held_out_states_are_asked_where_there_are_some():
    """Each share against a plain count on the held-out steps."""
    task = tasks.build({**tasks.plain("logs"), "held_out": 0.25, "low": -1.0, "high": 1.0})
    task.use(data=from_arrays(**arrays(400)))
    data = task.dataset()
    held_out, detector = data.held_out, Detector(data.log)
    report = detector.report(lambda observation: np.full((len(observation), 3), 9.0), held_out, seed=3)
    assert report["states"] == len(held_out.reward)
    assert report["rate"] == 1
    assert report["standard_error"] == 0
    assert report["data"] == detector.flags(held_out.observation, held_out.action).mean()


def test_a_plug_in_task_needs_only_its_own_file():
    class Plain(tasks["bandit"].__mro__[1]):
        def dataset(self): ...

        def environment(self, render_mode=None):
            return gymnasium.make("Hopper-v5")

        def report(self, act, data, returns, title, folder):
            return {}

    task = Plain()
    assert (task.columns, task.horizon, task.source, task.dataset_id, task.score(1)) == ((), None, None, None, None)
    with pytest.raises(InputError, match="Plain makes its own hazard"):
        task.use(hazard=object())
