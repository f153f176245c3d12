"""A policy as one file: it acts as the agent does, without this library."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from ramac.actors import Actor
from ramac.agent import Agent
from ramac.deploy import parity
from ramac.deploy.export import describe, export, policy_of
from ramac.deploy.formats import FORMATS, PT2, Onnx, silenced
from ramac.deploy.parity import difference
from ramac.deploy.program import Policy, traced
from ramac.errors import InputError
from ramac.registry import actors
from ramac.spec import Spec
from ramac.system.noise import GivenNoise

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
SPEC = Spec(3, 2, (-2.0, 0.0), (2.0, 4.0), (0.5, -1.0, 0.0), (2.0, 1.0, 3.0))
STEPS = {name: f"{name}2" for name in ("ddim", "ddpm", "dpmsolver", "edm", "shortcut", "mixture")} | {"flow": "flow1"}
NEEDED = ("numpy", "numpy.libs", "onnxruntime", "flatbuffers", "google", "packaging")  # by onnxruntime itself
ALONE = """
import json, sys
sys.path[:] = [path for path in sys.path if "site-packages" not in path] + [FOLDER]
try: import torch
except ImportError: pass
else: raise SystemExit("torch is here")
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(FILE)
given = np.load(INPUTS)
assert json.loads(session.get_modelmeta().custom_metadata_map["ramac"])["inputs"]["noise"]["shape"] == ["batch", 2]
np.save(OUTPUT, session.run(["action"], {name: given[name] for name in ("observation", "noise")})[0])
"""


def agent(actor: str, critic: str = "mean", risk: str = "neutral", **acting) -> Agent:
    torch.manual_seed(0)
    narrow = {"hidden": (8,)}
    parts = {"actor": actors.plain(STEPS.get(actor, actor)) | narrow, "critic": {"name": critic, **narrow}}
    if actor == "perturbed":
        parts["actor"]["prior"] = "gaussian"
    return Agent.build({**parts, "risk": risk, **acting}, SPEC).eval()


@pytest.mark.parametrize("name", [*actors, "mine"])
def test_every_actor_acts_the_same_in_both_formats(name, monkeypatch):
    if name == "mine":  # an actor of a user
        monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))
        entries, suffix = dict(actors.items()), dict(actors.suffix)
        monkeypatch.setattr(actors, "entries", entries)
        monkeypatch.setattr(actors, "suffix", suffix)
        entries["mine"], suffix["mine"] = import_module("my_actor").Mine, "heads"
    policy = Policy(agent(name), False)
    with silenced():
        program = traced(policy)
    for form in (Onnx(), PT2()):
        run = form.runner(form.encode(program, describe(policy, None)))
        assert max(difference(policy, run).values()) < 2e-6
        given = parity.examples(policy, 256)
        action = run({name: value * {"observation": 100, "noise": 10}[name] for name, value in given.items()})
        assert (action >= np.float32(SPEC.low)).all() and (action <= np.float32(SPEC.high)).all()
    assert (policy.columns == 0) == (name == "deterministic")


@pytest.mark.parametrize(
    ("critic", "risk", "acting", "ending"),
    [
        ("iqn", "cvar0.1", {"candidates": 4, "temperature": 0.5}, ".onnx"),
        ("qr", "wang-0.75", {"candidates": 4}, ".pt2"),
    ],
)
def test_the_best_of_several_actions(critic, risk, acting, ending):
    """Held against the plain rule too: the highest of the candidates' risks by the lowest member."""
    policy = Policy(agent("gaussian", critic, risk, **acting), False)
    form = FORMATS[ending]()
    with silenced():
        run = form.runner(form.encode(traced(policy), describe(policy, None)))
    assert max(difference(policy, run).values()) < 2e-6
    if "temperature" not in acting and critic == "qr":
        given = parity.examples(policy, 7)
        observation, noise = given["observation"], given["noise"]
        state = torch.from_numpy(observation)
        with torch.no_grad():
            mean, log_std = policy.agent.actor.net(policy.agent.actor.scaling.observe(state)).chunk(2, -1)
            draws = mean[:, None] + log_std.clamp(-5, 2).exp()[:, None] * torch.from_numpy(noise).reshape(7, 4, 2)
            action = torch.tensor([0.0, 2.0]) + 2 * draws.tanh()
            rho = policy.agent.risk_of(observation[:, None].repeat(4, 1), action.numpy())
        assert np.allclose(run(given), action.numpy()[np.arange(7), rho.argmax(1)], atol=1e-5)


def test_the_central_action_needs_no_noise():
    policy = policy_of(agent("gaussian", candidates=4), True)
    with silenced():
        form = Onnx()
        run = form.runner(form.encode(traced(policy), describe(policy, None)))
    given = parity.examples(policy, 7)
    assert set(given) == {"observation"}
    expected = policy.agent.act(given["observation"], deterministic=True)
    assert np.abs(run(given) - expected).max() < 1e-6
    with pytest.raises(InputError, match="actor=flow has no central action"):
        policy_of(agent("flow"), True)


def test_runs_where_there_is_no_torch(tmp_path):
    """A process whose path has numpy and ONNX Runtime alone."""
    policy = Policy(agent("gaussian"), False)
    with silenced():
        content = Onnx().encode(traced(policy), describe(policy, None))
    (tmp_path / "policy.onnx").write_bytes(content)
    given = parity.examples(policy, 5)
    np.savez(tmp_path / "inputs.npz", **given)
    (tmp_path / "packages").mkdir()
    for package in NEEDED:
        for folder in (Path(import_module(name).__file__).parents[1] for name in ("onnxruntime", "numpy")):
            if (folder / package).exists() and not (tmp_path / "packages" / package).exists():
                (tmp_path / "packages" / package).symlink_to(folder / package)
    places = {"FOLDER": "packages", "FILE": "policy.onnx", "INPUTS": "inputs.npz", "OUTPUT": "action.npy"}
    code = re.sub(r"\b(FOLDER|FILE|INPUTS|OUTPUT)\b", lambda m: repr(str(tmp_path / places[m[1]])), ALONE)
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with GivenNoise(torch.from_numpy(given["noise"])):
        expected = policy.agent.act(given["observation"])
    assert np.abs(np.load(tmp_path / "action.npy") - expected).max() < 1e-5


@pytest.mark.parametrize("ending", FORMATS)
def test_a_run_is_exported(run, tmp_path, ending):
    target = tmp_path / f"policy{ending}"
    found = export(run, target)
    assert found["noise"] == 2 and set(found["parity"]) == {1, 7, 256}
    assert os.listdir(tmp_path) == [target.name]
    if ending == ".pt2":
        extra = {"ramac.json": ""}
        module = torch.export.load(target, extra_files=extra).module()
        described = json.loads(extra["ramac.json"])
        assert described["task"] == "bandit" and described["actor"] == "gaussian"
        assert described["inputs"]["noise"]["law"] == "independent standard normal"
        with pytest.raises(AssertionError):
            module(torch.zeros(2, 9), torch.zeros(2, 2))


REFUSALS = {
    "unknown ending": ("policy.onxx", {}, r"a policy is written to FILE.onnx or FILE.pt2; did you mean '.onnx'\?"),
    "missing folder": ("none/policy.onnx", {}, "none does not exist"),
    "unknown setting": ("policy.onnx", {"candidate": 2}, r"no setting 'candidate'; .* did you mean 'candidates'\?"),
    "old opset": ("policy.onnx", {"opset": 7}, "opset=7 cannot hold this policy.*; opset=18 can"),
    "no opset": ("policy.onnx", {"opset": 999}, "opset must be a whole number from 1 to"),
    "opset of another format": ("policy.pt2", {"opset": 18}, "opset=18 is a setting of .onnx files"),
    "several and one": ("policy.pt2", {"deterministic": True, "candidates": 3}, "is a single action"),
    "one at a temperature": (
        "policy.pt2",
        {"deterministic": True, "temperature": 0.5},
        "temperature=0.5 is for samples",
    ),
    "a long name": (300 * "a" + ".pt2", {}, "a name has at most 249 bytes"),
    "no such step": ("policy.pt2", {"step": 77}, "no checkpoint of gradient step 77"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_exported_is_refused_and_leaves_nothing(run, tmp_path, case):
    name, settings, message = REFUSALS[case]
    with pytest.raises(InputError, match=message):
        export(run, tmp_path / name, settings)
    assert not os.listdir(tmp_path)


def test_a_file_or_a_run_that_cannot_be_used_is_refused(run, tmp_path):
    (tmp_path / "policy.pt2").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        export(run, tmp_path / "policy.pt2")
    assert (tmp_path / "policy.pt2").read_text() == "mine"
    with pytest.raises(InputError, match="no folder"):
        export(tmp_path / "none", tmp_path / "other.pt2")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has no checkpoint"):
        export(tmp_path / "empty", tmp_path / "other.pt2")
    damaged = tmp_path / "checkpoint"
    damaged.mkdir()
    for name in ("agent.json", "agent.safetensors"):
        (damaged / name).write_bytes((run / "checkpoint" / name).read_bytes()[:-9])
    with pytest.raises(InputError, match="no usable checkpoint"):
        export(damaged, tmp_path / "other.pt2")
    (tmp_path / "config.yaml").write_text((run / "config.yaml").read_text())
    text = (tmp_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(re.sub(r"(?ms)^  (bc|risk):\n(    .*?\n)+", "", text))
    with pytest.raises(InputError, match=r"no trained actor: loss=\[td\] trains the critic alone"):
        export(tmp_path, tmp_path / "other.pt2")
    assert not (tmp_path / "other.pt2").exists()


def test_a_checkpoint_alone_reads_no_configuration_beside_it(run, tmp_path):
    (tmp_path / "config.yaml").write_text("db: mine")
    shutil.copytree(run / "checkpoint", tmp_path / "models/mine")
    assert export(tmp_path / "models/mine", tmp_path / "policy.pt2")["noise"] == 2
    extra = {"ramac.json": ""}
    torch.export.load(tmp_path / "policy.pt2", extra_files=extra)
    assert json.loads(extra["ramac.json"])["gradient_steps"] == 4


def test_the_description_is_of_what_is_in_the_file():
    several = agent("gaussian", candidates=4, temperature=0.5)
    assert describe(policy_of(several, True), None)["acting"] == {"candidates": 1, "temperature": 0.0, "mode": True}
    assert describe(policy_of(several, False), None)["acting"]["candidates"] == 4


def test_a_solver_that_adapts_is_refused():
    pytest.importorskip("torchdyn")
    made = agent("flow")
    made.actor.solver = "dopri5"
    with pytest.raises(InputError, match=r"actor.solver=dopri5 chooses its steps .*train with solver=euler or"):
        policy_of(made, False)


def test_a_file_that_acts_otherwise_is_not_written(run, tmp_path, monkeypatch):
    monkeypatch.setattr(parity, "LARGEST", -1.0)
    with pytest.raises(InputError, match=r"differs from agent\.act by .* half widths of the action box at batch 1"):
        export(run, tmp_path / "policy.pt2")
    assert not os.listdir(tmp_path)


class Shared(Actor):
    """One draw for all rows."""

    def sample(self, observation):
        return observation[:, :2].tanh() * torch.rand(1)


class Fixed(Actor):
    """`len` of a tensor is a number of Python's."""

    def sample(self, observation):
        return torch.zeros(len(observation), 2)


@pytest.mark.parametrize(("kind", "message"), [(Shared, "not per observation"), (Fixed, r"x.shape\[0\] keeps it open")])
def test_an_actor_that_cannot_be_traced_says_why(kind, message):
    made = agent("gaussian")
    made.actor = kind(SPEC)
    with pytest.raises(InputError, match=message):
        traced(Policy(made, False))


def test_without_the_extra_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"onnxruntime is not installed: pip install 'ramac\[onnx\]'"):
        Onnx()
