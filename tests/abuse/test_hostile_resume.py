"""Going on with a run that somebody else began: nothing outside its folder is touched, nothing in it runs."""

import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import ramac
from ramac.cli import resume
from ramac.errors import InputError
from ramac.system.files import write_tensors


@pytest.fixture(autouse=True)
def theirs(tmp_path, monkeypatch) -> Path:
    """A run that has not ended."""
    monkeypatch.chdir(tmp_path)
    ramac.train("trainer.steps=1", "evaluation.episodes=2", "actor.hidden=[8]", "critic.hidden=[8]", "run_dir=theirs")
    (tmp_path / "theirs/summary.json").unlink()
    return tmp_path / "theirs"


class Payload:
    def __reduce__(self):
        return os.system, ("touch pwned",)


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
        resume.command(["theirs"])
    assert {path.name: path.read_text() for path in outside.iterdir()} == dict.fromkeys(
        ("1.safetensors", "12", "agent.json"), "mine"
    )


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
    "a pipe": lambda path: os.mkfifo(path),
}


@pytest.mark.parametrize("kind", STATES)
def test_a_strangers_training_state_is_passed_over(theirs, tmp_path, kind):
    (theirs / "states").mkdir()
    STATES[kind](theirs / "states/1.safetensors")
    before = (theirs / "metrics.csv").read_text()
    with pytest.warns(UserWarning, match="a training state cannot be used"):
        assert resume.command(["theirs"]) == 0
    assert (theirs / "metrics.csv").read_text() == before
    assert not (tmp_path / "pwned").exists()
