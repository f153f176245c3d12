"""Datasets that name an environment: the code that runs is the one registered here, whatever the dataset says."""

import json
from copy import deepcopy
from pathlib import Path

import gymnasium
import pytest

from ramac import environments
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
