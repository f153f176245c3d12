"""Datasets that name an environment: the code that runs is the one registered here, whatever the dataset says."""

import json
import os
from copy import deepcopy
from pathlib import Path

import gymnasium
import pytest

from ramac import environments
from ramac.cli.data import main as data
from ramac.data.sources import load
from ramac.errors import InputError
from trials.datasets import store


def test_a_dataset_does_not_say_what_code_its_environment_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = deepcopy(gymnasium.spec("Pendulum-v1"))
    spec.entry_point, spec.kwargs = "os:system", {"command": "touch pwned"}
    with pytest.raises(InputError, match=r"Pendulum-v1 cannot be made: .*command"):
        environments.make(spec)
    spec.kwargs = {}
    assert type(environments.make(spec).unwrapped).__name__ == "PendulumEnv"
    wrapper = gymnasium.envs.registration.WrapperSpec("x", "os:system", {})
    spec.additional_wrappers = (wrapper,)
    with pytest.raises(InputError, match="wrap Pendulum-v1 in os:system"):
        environments.make(spec)
    other = gymnasium.envs.registration.EnvSpec("Evil-v0", entry_point="os:system")
    with pytest.raises(InputError, match="Evil-v0, which is not registered here"):
        environments.make(other)
    assert not Path("pwned").exists()


def test_a_minari_dataset_with_code_of_its_own_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = store(env="Hopper-v5")
    path = tmp_path / "datasets" / name / "data/metadata.json"
    content = json.loads(path.read_text())
    assert "gymnasium.envs.mujoco.hopper_v5:HopperEnv" in content["env_spec"]
    content["env_spec"] = content["env_spec"].replace("gymnasium.envs.mujoco.hopper_v5:HopperEnv", "os:system")
    path.write_text(json.dumps(content))

    assert load(name).environment.entry_point == "os:system"
    assert type(environments.make(load(name).environment).unwrapped).__name__ == "HopperEnv"


@pytest.fixture
def evil(tmp_path, monkeypatch) -> Path:
    """The metadata of a dataset whose environment is a module that leaves a file when it is imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil_module.py").write_text("open('pwned', 'w').close()\n")
    path = tmp_path / "datasets" / store(env="Hopper-v5", eval_env="Hopper-v5") / "data/metadata.json"
    path.write_text(path.read_text().replace("gymnasium.envs.mujoco.hopper_v5:HopperEnv", "evil_module:make"))
    return path


@pytest.mark.parametrize("name", ["Hopper-v5", "Gone-v0"])
def test_a_conversion_runs_nothing_of_the_dataset(evil, name):
    evil.write_text(evil.read_text().replace("Hopper-v5", name))
    assert data(["convert", "bad/data-v0", "mine/copy-v0"]) == 0
    copy = load("mine/copy-v0")
    assert copy.environment.id == copy.evaluation_environment.id == name
    assert not Path("pwned").exists()


@pytest.mark.parametrize("key", ["observation_space", "action_space"])
def test_a_dataset_without_spaces_runs_nothing(evil, key):
    content = json.loads(evil.read_text())
    del content[key]
    evil.write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"'bad/data-v0' cannot be read: metadata.json has no {key}"):
        load("bad/data-v0")
    assert not Path("pwned").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("name", ["metadata.json", "main_data.hdf5", "0/part.arrow"])
def test_pipes_and_links_of_a_dataset_are_not_opened(tmp_path, name, capsys):
    path = tmp_path / "datasets" / store() / "data" / name
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    with pytest.raises(InputError, match=rf"'bad/data-v0' cannot be read: .*{name} is not a regular file"):
        load("bad/data-v0")
    assert data(["list"]) == 0
    assert "is not a regular file" in capsys.readouterr().err


def test_the_list_leaves_out_folders_that_are_no_datasets(tmp_path, capsys):
    root = tmp_path / "datasets"
    for name in ("h/evil-v0", "mine/no-version", "mine/empty-v0"):
        (root / name / "data").mkdir(parents=True)
    (root / "mine/round").symlink_to(root)
    store("mine/good-v0", env="Hopper-v5")
    assert data(["list"]) == 0
    shown = capsys.readouterr()
    assert [name in shown.out for name in ("mine/good-v0", "evil", "version", "empty")] == [True, False, False, False]
    for name in ("h/evil-v0", "mine/no-version", "mine/empty-v0"):
        assert f"left out: {name}: " in shown.err
