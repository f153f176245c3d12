"""Observations that `act` takes, and those it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import ramac
from ramac.agent import Agent
from ramac.errors import InputError
from ramac.spec import Spec


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
        (np.array([[0.0], [-1e300]]), r"must be within ±3.4e\+38, got -1e\+300"),
        (np.array([np.longdouble("1e4000")]), r"must be within ±3.4e\+38, got 1e\+4000"),
        ([10**400], "array of real numbers, got object"),
        (np.array([1.0], object), "array of real numbers, got object"),
    ],
)
def test_an_invalid_observation_is_refused(run, observation, message):
    with pytest.raises(InputError, match=message):
        ramac.load(run).act(observation)


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int64, np.uint8, bool])
def test_numbers_of_any_kind_are_observations(run, kind):
    assert ramac.load(run).act(np.zeros((4, 1), kind)).shape == (4, 2)
    assert ramac.load(run).act(np.zeros((0, 1), kind)).shape == (0, 2)


VALUES = np.arange(12, dtype=np.float32).reshape(6, 2)[:, :1]
LAYOUTS = {
    "flipped": VALUES[::-1].copy()[::-1],
    "columns": np.asfortranarray(np.hstack([VALUES, VALUES]))[:, ::-2],
    "big-endian": VALUES.astype(">f4"),
    "big-endian integers": VALUES.astype(">i2"),
    "long double": VALUES.astype(np.longdouble),
    "unsigned": VALUES.astype(np.uint64),
    "unaligned": np.frombuffer(b"0" + VALUES.tobytes(), np.float32, offset=1).reshape(6, 1),
    "lists": VALUES.tolist(),
    "tensor with a gradient": torch.tensor(VALUES, requires_grad=True),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("layout", [*LAYOUTS, "read-only"])
def test_arrays_that_torch_does_not_take_give_the_same_actions(run, layout):
    agent, given = ramac.load(run), LAYOUTS.get(layout, VALUES.copy())
    if layout == "read-only":
        given.flags.writeable = False
    action = agent.act(given, seed=0)
    assert action == pytest.approx(agent.act(VALUES.copy(), seed=0), abs=1e-6)
    assert np.isfinite(agent.returns(given, action[::-1])).all()


def test_an_observation_too_far_from_the_data_is_not_called_diverged_training():
    """Its distance overflows float32 where it is divided by the deviation."""
    spec = replace(Spec.unit(1, 1), obs_std=(1e-3,))
    agent = Agent.build({"actor": "deterministic", "critic": "mean", "risk": "neutral"}, spec)
    with pytest.raises(InputError, match="an observation is inf standard deviations from the logged ones: too far"):
        agent.act([1e37])
    with torch.no_grad():
        next(agent.actor.parameters()).fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="the policy's action is nan: training has diverged"):
        agent.act([0.0])
