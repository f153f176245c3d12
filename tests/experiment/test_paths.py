"""Runs find their data from any folder, also runs of older versions, and take a new place of data that have moved."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import ramac
from ramac.cli import main
from ramac.errors import InputError
from ramac.experiment.compose import compose
from ramac.experiment.folder import RunFolder
from ramac.experiment.paths import refuse_lost, without_folders
from trials.datasets import arrays, write_d4rl

WORDS = ("task=gymnasium", "task.environment=Pendulum-v1", "task.horizon=3", "actor=deterministic", "actor.hidden=[8]",
         "critic=mean", "critic.hidden=[8]", "risk=neutral", "trainer.steps=3", "trainer.batch_size=8",
         "evaluation.episodes=2")  # fmt: skip


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch, small_figures):
    monkeypatch.chdir(tmp_path)
    write_d4rl("d.hdf5", **arrays(60, 3, 1))
    Path("elsewhere").mkdir()


def composed(*words):
    return compose([*WORDS, *words])


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("d.hdf5", "{0}/d.hdf5"),
        ("./elsewhere/../d.hdf5", "{0}/d.hdf5"),
        ("d4rl:d.hdf5", "d4rl:{0}/d.hdf5"),
        ("d.hdf5+d4rl:d.hdf5", "{0}/d.hdf5+d4rl:{0}/d.hdf5"),
        ("d.hdf5+mujoco/hopper/expert-v0", "{0}/d.hdf5+mujoco/hopper/expert-v0"),
        ("gone.hdf5", "gone.hdf5"),
        ("mujoco/hopper/expert-v0", "mujoco/hopper/expert-v0"),
        ("'a+b=c, d.hdf5'", "{0}/a+b=c, d.hdf5"),
        ("'~/d.hdf5'", "{0}/d.hdf5"),
    ],
)
def test_existing_data_are_stored_absolute(given, stored, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy("d.hdf5", "a+b=c, d.hdf5")
    assert composed(f"data={given}").data == stored.format(tmp_path)


def test_a_minari_id_stays_an_id_beside_a_folder_of_its_name():
    Path("mujoco/hopper/expert-v0").mkdir(parents=True)
    Path("mujoco/hopper/expert-v0/x.npz").touch()
    assert composed("data=mujoco/hopper/expert-v0").data == "mujoco/hopper/expert-v0"
    Path("mujoco/hopper/expert-v0/data").mkdir()
    assert composed("data=mujoco/hopper/expert-v0").data == str(Path("mujoco/hopper/expert-v0").absolute())


def test_folders_of_policies_and_of_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    policies = ("task=hopper-mixed", "task.policies=elsewhere", "task.behaviour=[x]")
    config = compose([*policies, 'run_dir="~/mine"'])
    assert (config.task["policies"], config.run_dir) == (str(tmp_path / "elsewhere"), str(tmp_path / "mine"))
    assert without_folders(config).task["policies"] == "elsewhere"


def test_a_linked_working_folder_is_the_same_folder(tmp_path, monkeypatch):
    Path("link").symlink_to(tmp_path)
    first = composed("data=d.hdf5")
    monkeypatch.chdir("link")
    assert first.difference(composed("data=d.hdf5")) is None


def relative(run: Path) -> None:
    """Write into its configuration what an older version wrote."""
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings["data"] = os.path.basename(settings["data"])
    (run / "config.yaml").write_text(yaml.safe_dump(settings))


def test_a_run_is_asked_from_any_folder_and_its_data_may_move(monkeypatch, tmp_path):
    ramac.train(*WORDS, "data=d.hdf5", "run_dir=runs/old", quiet=True)
    run = RunFolder(tmp_path / "runs" / "old")
    relative(run.path)
    monkeypatch.chdir("elsewhere")
    assert run.config.data == str(tmp_path / "d.hdf5")
    assert run.config.difference(composed("data=../d.hdf5")) is None
    (tmp_path / "d.hdf5").rename(tmp_path / "moved.hdf5")
    with pytest.raises(InputError, match=r"its data are not in d\.hdf5, neither here nor in a folder above"):
        ramac.estimate(run.path, steps=2, quiet=True)
    write_d4rl("other.hdf5", **{**arrays(60, 3, 1), "rewards": np.ones(60)})
    with pytest.raises(InputError, match=r"was trained on other data than there are now .dataset .*other\.hdf5"):
        ramac.estimate(run.path, steps=2, data="other.hdf5", quiet=True)
    assert ramac.estimate(run.path, steps=2, data="../moved.hdf5", quiet=True)["steps"] == 2


def test_an_interrupted_run_takes_its_data_from_a_new_place(monkeypatch, tmp_path):
    monkeypatch.setattr("ramac.experiment.run.Run.finish", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ramac.train(*WORDS, "data=d.hdf5", "run_dir=half", quiet=True)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "d.hdf5").rename("now.hdf5")
    run = RunFolder(tmp_path / "half")
    before = run.config_file.read_bytes()
    with pytest.raises(InputError, match=r"its data are not in /.*/d\.hdf5; ramac resume .*half data=PLACE"):
        ramac.resume(run.path)
    write_d4rl("other.hdf5", **{**arrays(60, 3, 1), "rewards": np.ones(60)})
    with pytest.raises(InputError, match=r"was trained on other data than there are now .dataset .*other\.hdf5"):
        ramac.resume(run.path, data="other.hdf5")
    assert run.config_file.read_bytes() == before
    assert ramac.resume(run.path, data="now.hdf5", quiet=True)["steps"] == 3
    assert run.config.data == str(Path("now.hdf5").absolute())


def test_data_that_are_there_are_not_lost(tmp_path):
    for data in ("d.hdf5", "mine/logs-v0", "odd:place"):
        refuse_lost(composed(f"data={data}"), tmp_path, "estimate")


def test_a_deleted_working_folder_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir("elsewhere")
    Path(tmp_path, "elsewhere").rmdir()
    monkeypatch.setattr(sys, "argv", ["ramac", "info"])
    with pytest.raises(SystemExit) as stopped:
        main()
    monkeypatch.chdir(tmp_path)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "ramac: the working folder has been deleted; change into one that exists\n"
