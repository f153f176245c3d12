"""`seeds=N` is one piece of work: whenever its process dies, the same command trains what is missing."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

import ramac
from ramac.experiment import run as runs
from ramac.system.signals import Interrupted
from ramac.tasks.bandit import Bandit
from trials.datasets import arrays, write_d4rl
from trials.survival import SMALL, numbers

TINY = (*SMALL[:2], "actor=gaussian", "critic=mean", "risk=neutral", "trainer.batch_size=4", "trainer.steps=4",
        "task.transitions=60", "evaluation.episodes=2")  # fmt: skip


class Killed(BaseException):
    """The end of the process."""


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch, small_figures):
    monkeypatch.chdir(tmp_path)


def dies(monkeypatch, count: int, how) -> None:
    """Let the process die after so many summaries."""
    finish, calls = runs.Run.finish, [0]

    def finished(self):
        summary = finish(self)
        calls[0] += 1
        if calls[0] == count:
            how()
        return summary

    monkeypatch.setattr(runs.Run, "finish", finished)


def killed():
    raise Killed


@pytest.mark.parametrize(("count", "place"), [(1, ()), (2, ()), (1, ("run_dir=run",))])
def test_killed_after_a_summary_the_same_command_trains_the_other_seeds(place, count, monkeypatch):
    with monkeypatch.context() as context:
        dies(context, count, killed)
        with pytest.raises(Killed):
            ramac.train(*TINY, *place, "seeds=2")
    written = {path: path.stat().st_mtime_ns for path in Path().rglob("summary.json")}
    assert len(written) == count
    found = ramac.train(*TINY, *place, "seeds=2")
    assert [run["seed"] for run in found["runs"]] == [0, 1]
    assert all(path.stat().st_mtime_ns == time for path, time in written.items())
    assert len(list(Path().rglob("summary.json"))) == 2, "none is trained twice"
    if not place:
        return
    ramac.train(*TINY, "seed=1", "run_dir=alone")
    assert numbers(Path(found["runs"][1]["run_dir"])) == numbers(Path("alone"))


def test_a_signal_between_two_seeds_says_how_to_go_on(monkeypatch):
    train_seed = runs.train_seed

    def then_stopped(*arguments):
        summary = train_seed(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)
        return summary

    monkeypatch.setattr(runs, "train_seed", then_stopped)
    with pytest.raises(Interrupted, match="stopped by SIGTERM; the same command trains the seeds that are missing"):
        ramac.train(*TINY, "seeds=2")


def test_finished_seeds_of_other_data_or_settings_are_not_taken():
    task = ("task=gymnasium", "task.environment=Pendulum-v1", "task.horizon=3", "data=mine.hdf5", "seeds=1")
    words = (*(word for word in TINY if not word.startswith("task.")), *task)
    write_d4rl(Path("mine.hdf5"), **arrays(60, 3, 1))
    first = ramac.train(*words).summary
    assert ramac.train(*words).summary == first
    write_d4rl(Path("mine.hdf5"), **{**arrays(60, 3, 1), "rewards": np.ones(60, np.float32)})
    other = ramac.train(*words)
    assert other["run_dir"] == f"{first['run_dir']}-2"
    third = ramac.train(*words, "trainer.clip=4")
    assert third["run_dir"] == f"{first['run_dir']}-3"


def test_seeds_share_their_data_and_keep_no_trainer_alive_with_them(monkeypatch):
    shared, data = [], Bandit.dataset
    monkeypatch.setattr(Bandit, "dataset", lambda task: shared.append(data(task)) or shared[-1])
    trained, build = [], runs.Build.of
    monkeypatch.setattr(runs.Build, "of", lambda *given: trained.append(build(*given)) or trained[-1])
    ramac.train(*TINY, "seeds=2")
    assert len(shared) == 1 and [one.data for one in trained] == [shared[0], shared[0]]
    assert not any(hasattr(one.trainer, "data") or hasattr(one.trainer, "buffer") for one in trained)
