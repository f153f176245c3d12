"""What users of version 0.1 have on disk still loads and runs: tests/fixtures/v0.1 was written by it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ramac
from ramac.errors import InputError
from ramac.experiment.folder import RunFolder
from ramac.experiment.grid.folder import GridFolder

OLD = Path(__file__).parent / "fixtures/v0.1"
CELLS = ("actor=gaussian,deterministic", "seed=0,1", "actor.hidden=[8]", "critic.hidden=[8]", "trainer.batch_size=8",
         "task.transitions=200", "threads=1", "trainer.steps=4", "evaluation.episodes=4")  # fmt: skip


@pytest.fixture(autouse=True)
def own_copy(tmp_path, monkeypatch):
    shutil.copytree(OLD, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")


def test_agents_act_as_they_did():
    agent = ramac.load("finished")
    assert agent.act(np.zeros((3, 1)), seed=0).shape == (3, 2)
    assert agent.risk.k == 5.0
    assert {step: ramac.load(f"finished/checkpoints/{step}").actor.steps for step in (3, 6)} == {3: 2, 6: 2}


def test_a_temperature_in_reward_units_is_read_in_standard_deviations():
    path = Path("finished/checkpoint/agent.json")
    description = {key: value for key, value in json.loads(path.read_text()).items() if key != "sha256"}
    path.write_text(json.dumps(description | {"candidates": 4, "temperature": 3.0}))
    agent = ramac.load("finished")
    assert agent.acting.temperature == pytest.approx(3.0 / description["spec"]["return_std"])


def test_configurations_are_read():
    config = RunFolder(Path("finished")).config
    assert (config.gamma, config.logger, config.name) == (
        0.0,
        {"csv": {"name": "csv"}},
        "bandit-flow2-iqn-spectral5-seed0",
    )
    assert RunFolder(Path("iql")).config.names["recipe"] == "iql"
    assert RunFolder(Path("finished")).state == "finished"
    assert RunFolder(Path("interrupted")).state == "interrupted"


@pytest.mark.filterwarnings("ignore:loss=risk. ramp=500")
def test_an_interrupted_run_is_not_resumed_by_other_formulas():
    def content():
        return {
            path: path.read_bytes()
            for path in Path("interrupted").rglob("*")
            if path.is_file() and path.name != ".lock"
        }

    before = content()
    with pytest.raises(InputError, match=r"was begun by ramac 0\.1\.0, whose losses are not .*; resume it with ramac"):
        ramac.resume("interrupted", quiet=True)
    assert content() == before


def test_finished_runs_are_evaluated_and_compared_again():
    assert len(ramac.evaluate("finished", episodes=7).rows) == 7
    assert ramac.evaluate("finished", episodes=3, step=3)["checkpoint"]["step"] == 3
    assert ramac.check_critic("finished", episodes=5)["episodes"] == 5
    found = ramac.report("finished", "iql", "grid", out="page")
    assert len(found.tables["results"]) >= 4
    assert (Path("page") / "index.html").exists()


def test_a_sweep_runs_its_cells_anew_where_a_default_has_changed():
    grid = GridFolder(Path("grid"))
    old = {cell.name for cell in grid.cells}
    finished = {cell.name for cell in grid.cells if grid.run(cell).state == "finished"}
    assert (len(old), len(finished)) == (4, 3)
    found = ramac.sweep(*CELLS, grid_dir="grid", quiet=True)
    assert list(found.rows[~found.rows["run"].isin(old)]["state"]) == ["done"] * 4
    assert set(found.rows[found.rows["state"] == "done"]["run"]) >= finished, "runs of 0.1 stay"


def test_plugins_and_presets_run(monkeypatch):
    words = ["task=old_task", "actor=old_actor4", "critic=old_critic", "risk=old_risk0.3", "evaluation=old_evaluation"]
    words += ["loss=[td,bc,old_term2,old_bonus]", "trainer=old_trainer", "evaluation.episodes=3", "run_dir=plugged"]
    start = [sys.executable, "-m", "ramac"]
    environment = {"RAMAC_PLUGINS": "old_plugin", "PYTHONPATH": f"{Path(ramac.__file__).parents[1]}:{OLD}", "PATH": ""}
    done = subprocess.run([*start, *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    summary = RunFolder(Path("plugged")).summary
    assert (summary["actor"], summary["risk"]) == ("old_actor4", "old_risk0.3")
    assert "own_field" in summary
    monkeypatch.setenv("RAMAC_CONFIG_DIR", str(Path("presets").absolute()))
    slow = ramac.train("actor=slow", "trainer.steps=2", "evaluation.episodes=2", quiet=True)
    assert slow["actor"] == "flow3"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["loss.td.gamma=0.7"], ["gamma=0.7"]),
        (["recipe=iql", "loss.td.gamma=0.7", "task=hopper-mixed"], ["recipe=iql", "gamma=0.7", "task=hopper-mixed"]),
        (["task=hopper-mixed"], ["task=hopper-mixed", "gamma=0.99"]),
    ],
)
def test_old_names_of_settings_mean_the_same(old, new):
    from ramac.experiment.compose import compose

    assert compose(old) == compose(new)
    assert compose(old).loss["td"]["gamma"] == compose(old).gamma


def test_two_names_of_one_setting_must_agree():
    from ramac.experiment.config import RunConfig

    settings = RunFolder(Path("finished")).config.plain | {"gamma": 0.5}
    settings["loss"]["td"]["gamma"] = 0.9
    with pytest.raises(InputError, match=r"gamma=0.5 and loss.td.gamma=0.9 are the same setting; set one of them"):
        RunConfig.of(settings)
