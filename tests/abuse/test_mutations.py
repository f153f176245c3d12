"""Damaged checkpoints: each loads the same policy or is refused (`--mutations 1000` for more of them)."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import ramac
from ramac.errors import InputError
from tests.abuse.mutations import of_bytes, of_json


def outcomes(run: Path, name: str, contents) -> Counter:
    """How often a damaged file is refused and how often it loads the same policy. Raises what is no refusal."""
    path, expected = run / "checkpoint" / name, ramac.load(run)
    observation, found = np.zeros((3, 1)), Counter()
    action = expected.act(observation, seed=0)
    for content in contents:
        path.write_bytes(content)
        try:
            agent = ramac.load(run)
        except InputError as error:
            assert str(error).startswith("no usable checkpoint in ")
            found["refused"] += 1
            continue
        state, same = agent.state_dict(), expected.state_dict()
        assert state.keys() == same.keys()
        assert all(torch.equal(state[key], value) for key, value in same.items()), "another policy"
        assert np.array_equal(agent.act(observation, seed=0), action), "another policy"
        found["loaded"] += 1
    print(name, dict(found))
    return found


@pytest.mark.parametrize("name", ["agent.json", "agent.safetensors"])
def test_damaged_bytes_never_make_another_policy(run, name, mutations):
    random, sound = np.random.default_rng(0), (run / "checkpoint" / name).read_bytes()
    found = outcomes(run, name, (of_bytes(sound, random) for _ in range(mutations)))
    assert found["refused"] > 0.8 * mutations, "white space and unread parts alone may change"


def test_other_values_of_a_description_never_make_another_policy(run, mutations):
    """The checksum stays, so whatever loads must be what was written."""
    random, sound = np.random.default_rng(1), json.loads((run / "checkpoint/agent.json").read_text())
    contents = (json.dumps(of_json(sound, random)).encode() for _ in range(mutations))
    found = outcomes(run, "agent.json", contents)
    assert found["refused"] > 0.8 * mutations


def test_a_hostile_description_with_no_checksum_loads_or_is_refused(run, mutations):
    """An attacker can write a fitting checksum: then the description is another one, and must only be harmless."""
    random, path = np.random.default_rng(2), run / "checkpoint/agent.json"
    sound = json.loads(path.read_text())
    del sound["sha256"]
    found = Counter()
    for _ in range(mutations):
        path.write_text(json.dumps(of_json(sound, random)))
        try:
            action = ramac.load(run).act(np.zeros((3, 1)), seed=0)
        except InputError:
            found["refused"] += 1
        else:
            assert action.shape == (3, 2)
            assert np.isfinite(action).all()
            found["loaded"] += 1
    assert set(found) == {"refused", "loaded"}


def test_a_header_of_safetensors_with_other_values_is_refused(run, mutations):
    """Names, types, shapes and offsets in the header are all checked."""
    path, random = run / "checkpoint/agent.safetensors", np.random.default_rng(3)
    sound = path.read_bytes()
    size = int.from_bytes(sound[:8], "little")
    header, data = json.loads(sound[8 : 8 + size]), sound[8 + size :]

    def changed() -> bytes:
        text = json.dumps(of_json(header, random)).encode()
        return len(text).to_bytes(8, "little") + text + data

    outcomes(run, "agent.safetensors", (changed() for _ in range(mutations)))
