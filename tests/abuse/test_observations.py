"""Observations that `act` takes, and those it refuses."""

import numpy as np
import pytest

import ramac
from ramac.errors import InputError


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
def test_an_invalid_observation_is_refused(run, observation, message):
    with pytest.raises(InputError, match=message):
        ramac.load(run).act(observation)


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int64, np.uint8, bool])
def test_numbers_of_any_kind_are_observations(run, kind):
    assert ramac.load(run).act(np.zeros((4, 1), kind)).shape == (4, 2)
    assert ramac.load(run).act(np.zeros((0, 1), kind)).shape == (0, 2)
