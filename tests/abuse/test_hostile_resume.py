"""Resuming a run that somebody else began: nothing outside its folder is touched, nothing in it runs."""

import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import ramac
from ramac.cli.resume import main as resume
from ramac.errors import InputError
from ramac.system.files import write_tensors
from trials.hostile import Payload


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory) -> Path:
    """A run without a summary, trained once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("interrupted"))
        small = ("actor.hidden=[8]", "critic.hidden=[8]", "evaluation.episodes=2")
        ramac.train("trainer.steps=1", *small, "run_dir=theirs")
        Path("theirs/summary.json").unlink()
        return Path("theirs").absolute()


@pytest.fixture(autouse=True)
def theirs(interrupted, tmp_path, monkeypatch) -> Path:
    """An interrupted run in the current folder."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(interrupted, tmp_path / "theirs")


@pytest.mark.parametrize("name", ["metrics.csv", "episodes.csv", ".lock", "states", "checkpoints", "checkpoint"])
def test_a_run_is_not_resumed_through_links(theirs, tmp_path, name):
    outside = tmp_path / "precious"
    outside.mkdir()
    for mine in ("1.safetensors", "12", "agent.json"):
        (outside / mine).write_text("mine")
    target = theirs / name
    shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
    target.symlink_to(outside if "." not in name else outside / "agent.json")
    with pytest.raises(InputError, match="is a link out of theirs: it is not followed"):
        resume(["theirs"])
    assert {path.name: path.read_text() for path in outside.iterdir()} == dict.fromkeys(
        ("1.safetensors", "12", "agent.json"), "mine"
    )


@pytest.mark.parametrize("name", ["states/1.safetensors", "metrics.csv", ".lock", "environment.txt"])
def test_a_run_with_a_pipe_is_not_resumed(theirs, name):
    (theirs / name).parent.mkdir(exist_ok=True)
    (theirs / name).unlink(missing_ok=True)
    os.mkfifo(theirs / name)
    with pytest.raises(InputError, match=f"theirs/{name} is not a regular file"):
        resume(["theirs"])


PROGRESS = {"updates": 1, "data": "", "metrics": {}, "sizes": {}, "best": {}, "training_seconds": 0.0, "seconds": 0.0,
            "together": 1, "circumstances": {}}  # fmt: skip
STATES = {
    "a pickle": lambda path: path.write_bytes(pickle.dumps(Payload())),
    "no checksum": lambda path: save_file({"x": torch.zeros(1)}, path),
    "no progress": lambda path: write_tensors(path, {"x": torch.zeros(1)}),
    "progress of another shape": lambda path: write_tensors(path, {"x": torch.zeros(1)}, {"updates": "1"}),
    "other tensors": lambda path: write_tensors(path, {"x": torch.zeros(1)}, PROGRESS),
    "sizes of files elsewhere": lambda path: write_tensors(
        path, {"x": torch.zeros(1)}, {**PROGRESS, "sizes": {"../theirs/config.yaml": 0}}
    ),
}


@pytest.mark.parametrize("kind", STATES)
def test_a_strangers_training_state_is_skipped(theirs, tmp_path, kind):
    (theirs / "states").mkdir()
    STATES[kind](theirs / "states/1.safetensors")
    before = (theirs / "metrics.csv").read_text()
    with pytest.warns(UserWarning, match="a training state cannot be used"):
        assert resume(["theirs"]) == 0
    assert (theirs / "metrics.csv").read_text() == before
    assert not (tmp_path / "pwned").exists()
