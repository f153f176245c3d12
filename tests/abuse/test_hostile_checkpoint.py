"""Checkpoints that somebody else wrote: nothing in them runs, points elsewhere or costs memory."""

import json
import os
import pickle
import re
import struct
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import ramac
from ramac.errors import InputError
from ramac.experiment import evaluate as reevaluate
from ramac.spec import Spec
from ramac.system.untrusted import read_json
from ramac.system.weights import Allowance
from trials.hostile import Payload, describe, put


def weigh(run: Path, change) -> None:
    path = run / "checkpoint/agent.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path)


def header(run: Path, content: dict, size: int | None = None) -> None:
    text = json.dumps(content).encode()
    (run / "checkpoint/agent.safetensors").write_bytes(struct.pack("<Q", len(text) if size is None else size) + text)


def test_a_sound_folder_is_accepted(run):
    assert ramac.load(run).act(np.zeros((3, 1))).shape == (3, 2)
    assert len(reevaluate.evaluate(run, {"name": "again"})["return_cvar"]) == 3


BYTES = {
    "no text": (b"\xff\xfe{}", "not UTF-8 text"),
    "no JSON": (b"{", "is not valid JSON"),
    "a list": (b"[]", "holds no settings, but list"),
    "a name twice": (b'{"actor": {}, "actor": {}}', "'actor' appears twice"),
    "nested without end": (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    "a number of a million digits": (b'{"seed": ' + b"9" * 1_000_000 + b"}", "is not valid JSON: Exceeds the limit"),
    "forty megabytes": (b" " * 40 * 2**20, "has 40 MiB; at most 4 are read"),
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
    "one too many": (
        at("actor.scaling.center", torch.zeros(2)),
        "does not belong.*did you mean 'actor.scaling.centre'",
    ),
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


def test_an_allowance_counts_what_layers_take():
    with Allowance(3 * 4 + 4):
        torch.nn.Linear(3, 4)
    with pytest.raises(InputError, match="a layer of 4 weights; at most 15 are allowed"), Allowance(3 * 4 + 3):
        torch.nn.Linear(3, 4)


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
