"""The Python API: as complete as the command line, and the process is left as it was found."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

import ramac
import ramac.data
from ramac.api import words_of
from ramac.errors import InputError

SMALL = {"actor": "gaussian", "actor.hidden": [8], "critic.hidden": [8], "trainer": {"steps": 4, "batch_size": 8}}
SHORT = {**SMALL, "task.transitions": 300, "evaluation": {"episodes": 6}}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch, small_figures):
    monkeypatch.chdir(tmp_path)


def process() -> dict:
    """What a caller would notice if it changed."""
    return {
        "generator": torch.get_rng_state().tolist(), "seed": torch.initial_seed(), "threads": torch.get_num_threads(),
        "deterministic": torch.get_deterministic_debug_mode(), "precision": torch.get_float32_matmul_precision(),
        "filters": list(warnings.filters), "showwarning": warnings.showwarning, "folder": os.getcwd(),
        "formatwarning": warnings.formatwarning, "environment": dict(os.environ), "argv": list(sys.argv),
    }  # fmt: skip


CALLS = {
    "train": lambda: ramac.train(SHORT, deterministic=True, threads=1, trainer={"precision": "high"}, quiet=True),
    "seeds": lambda: ramac.train(SHORT, seeds=2, quiet=True),
    "refused": lambda: ramac.train(SHORT, risk="cvar1.5", quiet=True),
    "diverged": lambda: ramac.train(SHORT, {"trainer.critic_lr": 1e20}, critic="mean", risk="neutral", quiet=True),
    "evaluate": lambda: ramac.evaluate("done", episodes=4, device="cpu"),
    "calibrate": lambda: ramac.check_critic("done", episodes=4),
    "report": lambda: ramac.report("done", out="page"),
    "sweep": lambda: ramac.sweep(SHORT, seed=[0, 1], quiet=True, grid_dir="g"),
    "nothing to resume": lambda: ramac.resume("done"),
}
FAILS = {"refused": InputError, "diverged": FloatingPointError, "nothing to resume": InputError}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_a_process_is_left_as_it_was_found(name):
    ramac.train(SHORT, run_dir="done", quiet=True)
    torch.manual_seed(5)
    torch.set_num_threads(2)
    before = process()
    try:
        if name in FAILS:
            with pytest.raises(FAILS[name]):
                CALLS[name]()
        else:
            CALLS[name]()
        after = process()
    finally:
        torch.set_num_threads(1)
    assert {key for key in before if before[key] != after[key]} == set()


def test_settings_are_words_mappings_or_keywords():
    nested = words_of(
        ["actor=flow", {"risk": "cvar0.2", "trainer": {"steps": 5}}], {"loss": ["td", "bc"], "mode": False}
    )
    assert nested == ["actor=flow", "risk=cvar0.2", "trainer.steps=5", "loss=[td,bc]", "mode=false"]
    second = {"threads": None, "run_dir": Path("a b"), "data": "x=y.h5", "evaluation": {"alphas": (0.1, 1)}}
    assert words_of([], second) == [
        "threads=null", "run_dir='a b'", "data='x=y.h5'", "evaluation.alphas=[0.1,1]",
    ]  # fmt: skip
    result = ramac.train({"actor": "flow2"}, SHORT, actor="deterministic", run_dir="a (b)", quiet=True)
    assert (result["actor"], result.folder) == ("deterministic", Path("a (b)"))


def test_training_returns_what_it_prints(capsys):
    result = ramac.train(SHORT, seeds=2, run_dir="two", quiet=True)
    assert capsys.readouterr() == ("", "")
    assert [run["seed"] for run in result["runs"]] == [0, 1]
    assert len(result.rows) == 2 * 6
    assert result.rows.query("seed == 0")["return"].mean() == pytest.approx(result["return_mean"])
    assert "run_dir" in result
    assert ramac.load(result["run_dir"]).act(np.zeros(1)).shape == (2,)


def test_evaluating_again_returns_the_episodes():
    run = ramac.train(SHORT, run_dir="run", quiet=True).folder
    again = ramac.evaluate(run, episodes=9, name="again")
    assert again.folder == Path("run/evaluations/again")
    assert again.rows["return"].mean() == pytest.approx(again["return_mean"])
    assert len(again.rows) == 9
    report = ramac.report(run, out="page")
    assert report.tables["results"].shape[0] >= 1
    assert report.folder == Path("page")


def test_a_sweep_returns_its_runs(capfd):
    found = ramac.sweep(SHORT, risk=["cvar0.1", "cvar1.5"], loss=[["td", "bc"]], grid_dir="g", quiet=True)
    assert capfd.readouterr() == ("", "")
    assert dict(zip(found.rows["risk"].fillna("-"), found.rows["state"], strict=True)) == {
        "cvar0.1": "done",
        "-": "failed",
    }
    assert "alpha must be in (0, 1], got 1.5" in found.rows["reason"].iloc[1]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ramac.train(actr="flow"), "no setting 'actr'.*did you mean 'actor'"),
        (lambda: ramac.train(trainer={"stpes": 3}), "no setting 'trainer.stpes'.*did you mean 'steps'"),
        (lambda: ramac.train(seed=[0, 1]), "seed"),
        (lambda: ramac.evaluate("nowhere"), "nowhere is no run folder"),
        (lambda: ramac.resume("nowhere"), "nowhere is no run folder"),
        (lambda: ramac.check_critic(critic="iqm"), "no critic 'iqm'.*did you mean 'iqn'"),
        (lambda: ramac.report("nowhere"), "no folder and no csv file 'nowhere'"),
        (lambda: ramac.make("risks", "cvar"), "did you mean 'risk'"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(call, words, tmp_path):
    with pytest.raises(InputError, match=words) as refused:
        call()
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "ramac", "--version"], capture_output=True, text=True)
    assert done.stdout == f"ramac {ramac.__version__}\n"
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = ramac.trian


def test_arrays_name_their_environment():
    steps = np.arange(40)
    log = ramac.data.from_arrays(
        np.random.default_rng(0).normal(size=(40, 3)), np.linspace(-1, 1, 40)[:, None], np.ones(40),
        np.zeros(40), steps % 10 == 9,
    )  # fmt: skip
    log.environment = gymnasium.spec("Pendulum-v1")
    found = ramac.train(SMALL, "task=gymnasium", "task.horizon=3", "evaluation.episodes=2", data=log, quiet=True)
    assert found["episodes"] == 2
    assert "arrays from Python" in found["data"]
