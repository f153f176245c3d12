"""Run folders and data that somebody else wrote: nothing in them runs, points elsewhere or costs memory."""

import json
import os
import pickle
import re
import resource
import struct
import subprocess
import sys
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import ramac
from ramac import environments
from ramac.agent import Agent
from ramac.checkpoint import save
from ramac.errors import InputError
from ramac.experiment import evaluate as reevaluate
from ramac.experiment.folder import settings_of
from ramac.reporting.runs import gather
from ramac.spec import Spec
from ramac.system.untrusted import Allowance, read_json, read_yaml
from trials.datasets import store

PARTS = {"actor": "flow", "critic": "qr", "risk": "cvar0.1"}
CONFIG = """task: {name: bandit}
evaluation: {name: default, episodes: 2, alphas: [0.05, 0.1, 0.25]}
loss: {td: {name: td, gamma: 0}}
trainer: {name: default, steps: 2}
seed: 0
data: null
hazard: null
"""


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    """A sound run folder; each test spoils one thing."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    save(Agent.build(PARTS, Spec.unit(1, 2)), PARTS, folder / "checkpoint")
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "summary.json").write_text("{}")
    return folder


def describe(run: Path, change) -> None:
    path = run / "checkpoint/agent.json"
    content = json.loads(path.read_text())
    del content["sha256"]  # who changes a file on purpose can make a checksum too
    change(content)
    path.write_text(json.dumps(content))


def weigh(run: Path, change) -> None:
    path = run / "checkpoint/agent.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path)


def header(run: Path, content: dict, size: int | None = None) -> None:
    text = json.dumps(content).encode()
    (run / "checkpoint/agent.safetensors").write_bytes(struct.pack("<Q", len(text) if size is None else size) + text)


class Payload:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def test_a_sound_folder_is_accepted(run):
    assert ramac.load(run).act(np.zeros((3, 1))).shape == (3, 2)
    assert len(reevaluate.evaluate(run, {"name": "again"})["return_cvar"]) == 3


def put(*keys):
    """A change of agent.json: the last argument under the keys before it."""

    def change(content):
        *path, value = keys
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


DESCRIPTIONS = {
    "a path as an entry": (put("actor", "name", "../../x"), r"no actor '\.\./\.\./x'; choose from"),
    "no name": (lambda c: c["actor"].pop("name"), "actor has no name of an entry"),
    "a list as a name": (put("critic", "name", ["qr"]), "critic has no name of an entry"),
    "a class to call": (put("actor", "_target_", "os.system"), "'actor._target_' is not a setting"),
    "an environment variable": (put("actor", "solver", "${oc.env:HOME}"), "is an interpolation"),
    "an unknown argument": (put("actor", "stepz", 3), "no argument 'stepz'; did you mean 'steps'"),
    "an unknown part": (put("actr", {}), "unknown 'actr'; did you mean 'actor'"),
    "a missing part": (lambda c: c.pop("risk"), "agent.json has no risk"),
    "a wrong type": (put("actor", "steps", "many"), "Value 'many' .*could not be converted to Integer"),
    "a wrong choice": (put("actor", "solver", "heun"), "expected one of .midpoint, euler, rk4"),
    "a huge layer": (put("actor", "hidden", [1_000_000_000]), "hidden must be at most 16384"),
    "many large layers": (
        put("actor", "hidden", [16_000] * 1000),
        "a layer of 16000 x .* weights; agent.safetensors has",
    ),
    "a huge ensemble": (put("critic", "ensemble", 1_000_000_000), "ensemble must be at most"),
    "layers of another size": (
        put("actor", "hidden", [8, 8]),
        "actor.velocity.net.*not F32|does not belong to this agent",
    ),
    "years of steps": (put("actor", "steps", 1_000_000_000), "steps must be at most 1000"),
    "candidates without end": (put("candidates", 10**12), "candidates must be at most 16384"),
    "a number beyond all": (put("actor", "steps", 10**400), "steps"),
    "a huge observation": (put("spec", "obs_dim", 1_000_000_000), "obs_mean must be 1000000000 numbers"),
    "half a size": (put("spec", "act_dim", 2.5), "act_dim must be a whole number from 1, got 2.5"),
    "an unbounded box": (put("spec", "low", [-1e39, -1]), "low must be finite numbers, got -1e[+]39"),
    "an empty box": (put("spec", "low", [1, 1]), "low must be below high"),
    "no width of observations": (put("spec", "obs_std", [0.0]), "must be positive"),
    "nan": (put("spec", "return_mean", float("nan")), "return_std must be finite numbers, got nan"),
    "words for numbers": (put("spec", "obs_mean", ["0"]), "obs_mean must be finite numbers, got '0'"),
    "a statistic is missing": (lambda c: c["spec"].pop("obs_std"), "spec has no 'obs_std'"),
    "a statistic too many": (put("spec", "obs_dtd", 1), "spec has an unknown 'obs_dtd'"),
    "true for a number": (put("candidates", True), "candidates must be a whole number"),
    "a rule that is none": (put("temperature", "hot"), "temperature must be finite"),
    "versions": (put("versions", ["0.1"]), "versions must be a version per package"),
}


@pytest.mark.parametrize("kind", DESCRIPTIONS)
def test_a_hostile_description_is_refused(run, kind):
    change, message = DESCRIPTIONS[kind]
    describe(run, change)
    with pytest.raises(InputError, match=message):
        ramac.load(run)


BYTES = {
    "no text": (b"\xff\xfe{}", "no UTF-8 text"),
    "no JSON": (b"{", "is not valid JSON"),
    "a list": (b"[]", "holds no settings, but list"),
    "a name twice": (b'{"actor": {}, "actor": {}}', "'actor' appears twice"),
    "nested without end": (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    "a number of a million digits": (b'{"seed": ' + b"9" * 1_000_000 + b"}", "is not valid JSON: Exceeds the limit"),
    "forty megabytes": (b" " * 40 * 2**20, "has 40 MiB; settings have at most 32"),
}


@pytest.mark.parametrize("kind", BYTES)
def test_bytes_that_are_no_description_are_refused(run, kind):
    content, message = BYTES[kind]
    (run / "checkpoint/agent.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        ramac.load(run)


def at(key, value):
    return lambda state: state.__setitem__(key, value)


WEIGHTS = {
    "nan": (lambda s: s["actor.scaling.centre"].fill_(float("nan")), "actor.scaling.centre is nan or infinite in 2"),
    "infinite": (lambda s: s["critic.scaling.obs_std"].fill_(float("inf")), "obs_std is nan or infinite in 1"),
    "another type": (at("actor.scaling.centre", torch.zeros(2, dtype=torch.float64)), r"is F64 \[2\], not F32 \[2\]"),
    "another shape": (at("actor.scaling.centre", torch.zeros(3)), r"is F32 \[3\], not F32 \[2\]"),
    "one missing": (lambda s: s.pop("actor.scaling.centre"), "has no 'actor.scaling.centre'"),
    "one too many": (at("actor.scaling.center", torch.zeros(2)), "has no place.*did you mean 'actor.scaling.centre'"),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_hostile_weights_are_refused(run, kind):
    change, message = WEIGHTS[kind]
    weigh(run, change)
    with pytest.raises(InputError, match=message):
        ramac.load(run)


HEADERS = {
    "a header without end": ({}, 2**60),
    "a header longer than the file": ({}, 10_000),
    "a huge shape": ({"x": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4 * 10**18]}}, None),
    "a shape beyond 64 bits": ({"x": {"dtype": "F32", "shape": [2**63, 2**63], "data_offsets": [0, 4]}}, None),
    "no such type": ({"x": {"dtype": "object", "shape": [1], "data_offsets": [0, 8]}}, None),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_hostile_headers_are_refused(run, kind):
    header(run, *HEADERS[kind])
    with pytest.raises(InputError, match="is not a safetensors file"):
        ramac.load(run)


def test_pickle_is_never_read(run):
    for content in (pickle.dumps(Payload()), b""):
        (run / "checkpoint/agent.safetensors").write_bytes(content)
        with pytest.raises(InputError, match="is not a safetensors file"):
            ramac.load(run)
    torch.save({"x": Payload()}, run / "checkpoint/agent.safetensors")
    with pytest.raises(InputError, match="is not a safetensors file"):
        ramac.load(run)
    assert not Path("pwned").exists()


def test_nothing_in_the_package_unpickles():
    """The only reader of arrays that could, numpy's, is told not to."""
    for path in Path(ramac.__file__).parent.rglob("*.py"):
        text = path.read_text()
        assert not re.search(r"import pickle|torch\.load\(|allow_pickle=True|(?<![.\w])(eval|exec)\(", text), path


@pytest.mark.parametrize("name", ["agent.json", "agent.safetensors"])
def test_links_out_of_the_folder_are_not_followed(run, tmp_path, name):
    (tmp_path / "secret").write_bytes((run / "checkpoint" / name).read_bytes())
    (run / "checkpoint" / name).unlink()
    (run / "checkpoint" / name).symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="is a link out of"):
        ramac.load(run)


def test_a_checkpoint_that_lies_elsewhere_is_not_followed(run, tmp_path):
    (run / "checkpoint").rename(tmp_path / "elsewhere")
    (run / "checkpoint").symlink_to(tmp_path / "elsewhere")
    for read in (ramac.load, lambda path: reevaluate.evaluate(path, {"name": "x"})):
        with pytest.raises(InputError, match="is a link out of"):
            read(run)
    (run / "checkpoint").unlink()
    (tmp_path / "elsewhere").rename(run / "inside")
    (run / "checkpoint").symlink_to("inside")
    assert ramac.load(run)


def test_a_pipe_is_not_waited_for(run):
    (run / "checkpoint/agent.json").unlink()
    os.mkfifo(run / "checkpoint/agent.json")
    with pytest.raises(InputError, match="is not a regular file"):
        ramac.load(run)


def test_a_huge_description_costs_no_memory(run):
    describe(run, put("actor", "hidden", [16_000, 16_000, 16_000]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r"16000 x 16000 weights; agent.safetensors has"):
        ramac.load(run)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024, "KiB; such a layer has 1 GiB"


def test_an_allowance_counts_what_layers_take():
    with Allowance(3 * 4 + 4):
        torch.nn.Linear(3, 4)
    with pytest.raises(InputError, match="a layer of 4 weights; at most 15 are allowed"), Allowance(3 * 4 + 3):
        torch.nn.Linear(3, 4)


CONFIGS = {
    "an environment variable": ("seed: ${oc.env:HOME}", "seed='.{oc.env:HOME}' is an interpolation"),
    "one inside a list": ("x: [1, {y: '${oc.env:HOME}'}]", "x.y=.* is an interpolation"),
    "a class to call": ("task: {name: bandit, _target_: os.system}", "'task._target_' is not a setting"),
    "a tag": ("x: !!python/object/apply:os.system ['touch pwned']", "could not determine a constructor"),
    "references": ("x: &a [1]\ny: *a", r"'\*a' is a YAML alias"),
    "a setting twice": ("seed: 1\nseed: 2", "'seed' appears twice"),
    "nested without end": ("x: " + "[" * 500 + "]" * 500, "nested too deeply"),
    "a module to import": (
        "task: {name: gymnasium, environment: 'evil:Env-v0'}",
        "would run the module evil; .*PLUGINS",
    ),
    "no settings": ("task: bandit", "task holds no settings, but 'bandit'"),
    "a key that is none": ("1: 2", "'1' is not a setting"),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_hostile_configuration_is_refused(run, kind):
    text, message = CONFIGS[kind]
    key = text.partition(":")[0]
    kept = [line for line in CONFIG.splitlines() if not line.startswith(f"{key}:")]
    (run / "config.yaml").write_text("\n".join([*kept, text]))
    (run.parent / "evil.py").write_text("open('pwned', 'w')")
    with pytest.raises(InputError, match=message):
        settings_of(run)
    with pytest.raises(InputError, match=message):
        reevaluate.evaluate(run, {"name": "x"})
    assert not Path("pwned").exists()
    assert {path.name for path in run.iterdir()} == {"checkpoint", "config.yaml", "summary.json"}


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("{name: ../../x}", "no task '../../x'"),
        ("{name: bandit, transitions: 1000000000000}", "transitions must be at most"),
        ("{name: bandit, transitions: [1]}", "transitions|task"),
        ("{name: hopper-mixed, policies: ../../etc, behaviour: [passwd]}", "takes observations of 1 numbers"),
        ("{name: gymnasium, environment: NoSuch-v0}", "no environment 'NoSuch-v0'"),
    ],
)
def test_a_hostile_task_is_refused(run, task, message):
    (run / "config.yaml").write_text(CONFIG.replace("{name: bandit}", task))
    with pytest.raises(InputError, match=message):
        reevaluate.evaluate(run, {"name": "x"})


@pytest.mark.parametrize("source", ["/etc/hostname", "../../nothing.hdf5", "../x-v0", "run"])
def test_data_of_a_hostile_run_are_only_read_as_data(run, source):
    from ramac.experiment.estimate import of_run

    text = CONFIG.replace("{name: bandit}", "{name: gymnasium, environment: Pendulum-v1}")
    (run / "config.yaml").write_text(text.replace("data: null", f"data: {source}"))
    (run / "run").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(InputError, match=r"cannot be read|no file"):
        of_run(run)
    assert not Path("pwned").exists()


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


def test_a_report_reads_hostile_folders_as_data(run):
    for name, content in (
        ("summary.json", "[" * 100_000),
        ("summary.json", "{}"),
        ("summary.json", '{"a": 1, "a": 2}'),
    ):
        (run / name).write_text(content)
        (run / "episodes.csv").write_text("step,episode,return\n1,0,1\n")
        with pytest.raises(InputError, match="no finished run"):
            gather([str(run)])
    (run / "episodes.csv").unlink()
    os.mkfifo(run / "episodes.csv")
    with pytest.raises(InputError, match="no finished run"):
        gather([str(run)])


def test_a_bomb_of_references_is_refused(tmp_path):
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    with pytest.raises(InputError, match="is a YAML alias"):
        read_yaml(tmp_path / "bomb.yaml")


def test_a_checkpoint_holds_everything_that_acting_needs(run):
    content = read_json(run / "checkpoint/agent.json")
    parts = {"actor", "critic", "risk", "candidates", "temperature", "mode", "spec", "versions"}
    assert set(content) == {*parts, "sha256"}
    assert content["versions"]["ramac"] == ramac.__version__
    assert set(content["versions"]) == {"ramac", "torch", "tensordict", "diffusers", "torchdyn"}
    assert content["spec"] == json.loads(json.dumps(asdict(Spec.unit(1, 2))))
    assert {path.suffix for path in (run / "checkpoint").iterdir()} == {".json", ".safetensors"}


def test_a_later_version_is_mentioned(run):
    describe(run, put("versions", "ramac", "99.0.1"))
    with pytest.warns(UserWarning, match="written by ramac 99.0.1; here is"):
        ramac.load(run)
    content = read_json(run / "checkpoint/agent.json")
    (run / "checkpoint/agent.json").write_text(json.dumps({k: v for k, v in content.items() if k != "versions"}))
    assert ramac.load(run), "checkpoints of before versions were noted"


@pytest.mark.parametrize("name", ["agent.json", "agent.safetensors"])
def test_a_flipped_bit_never_makes_another_policy(run, name):
    path, expected = run / "checkpoint" / name, ramac.load(run).state_dict()
    sound, random, refused = path.read_bytes(), np.random.default_rng(0), 0
    for place in random.choice(len(sound), 60, replace=False):
        spoiled = bytearray(sound)
        spoiled[place] ^= 1 << random.integers(8)
        path.write_bytes(spoiled)
        try:
            found = ramac.load(run).state_dict()  # white space, say
        except InputError:
            refused += 1
        else:
            assert all(torch.equal(found[key], value) for key, value in expected.items())
    assert refused > 50


def test_acting_needs_no_hydra_and_no_data(run):
    code = f"""import sys, numpy, ramac
ramac.load({str(run)!r}).act(numpy.zeros((2, 1)))
print(sorted(set(sys.modules) & {{'hydra', 'minari', 'h5py', 'torchrl', 'matplotlib', 'mujoco'}}))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        (np.zeros(2), r"must have shape \[..., 1\], got \[2\]"),
        (np.float32(0), r"must have shape \[..., 1\], got \[\]"),
        (np.zeros((3, 0)), r"must have shape \[..., 1\], got \[3, 0\]"),
        (np.array([["0"]]), "array of real numbers, got <U1"),
        (np.array([None]), "array of real numbers, got object"),
        (np.zeros(1, complex), "array of real numbers, got complex128"),
        ([[0.0], [1.0, 2.0]], "must be an array of numbers"),
        ({"a": 1}, "array of real numbers, got object"),
        (np.array([[0.0], [np.nan]]), "is nan or infinite in 1 places"),
        (np.array([np.inf]), "is nan or infinite in 1 places"),
    ],
)
def test_an_observation_that_is_none_is_refused(run, observation, message):
    with pytest.raises(InputError, match=message):
        ramac.load(run).act(observation)


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int64, np.uint8, bool])
def test_numbers_of_any_kind_are_observations(run, kind):
    assert ramac.load(run).act(np.zeros((4, 1), kind)).shape == (4, 2)
    assert ramac.load(run).act(np.zeros((0, 1), kind)).shape == (0, 2)


def test_a_minari_dataset_with_code_of_its_own_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = store(env="Hopper-v5")
    path = tmp_path / "datasets" / name / "data/metadata.json"
    content = json.loads(path.read_text())
    assert "gymnasium.envs.mujoco.hopper_v5:HopperEnv" in content["env_spec"]
    content["env_spec"] = content["env_spec"].replace("gymnasium.envs.mujoco.hopper_v5:HopperEnv", "os:system")
    path.write_text(json.dumps(content))
    from ramac.data.sources import load

    assert load(name).environment.entry_point == "os:system"
    assert type(environments.make(load(name).environment).unwrapped).__name__ == "HopperEnv"
