"""Environments that are not as Gymnasium's interface says, or whose numbers become non-finite."""

import random
import warnings
from functools import partial

import gymnasium
import numpy as np
import pytest
import torch

from ramac.agent import Agent
from ramac.errors import InputError
from ramac.evaluation.checked import EnvironmentFault, NonFinite
from ramac.evaluation.rollout import Evaluation, rollout, try_out
from ramac.hazards import HazardWrapper, NoHazard
from ramac.spec import Spec
from ramac.system.signals import Interrupted


class Counted(gymnasium.Env):
    """Episodes of `length` steps with reward 1; the observation is the number of the step."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    made = 0

    def __init__(self, length: int = 3) -> None:
        self.length, self.t = length, 0

    def look(self):
        return np.full(2, self.t, np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.look(), {}

    def step(self, action):
        self.t += 1
        return self.look(), 1.0, self.t >= self.length, False, {}


@pytest.fixture
def agent():
    return Agent.build({"actor": "deterministic", "critic": "mean", "risk": "neutral"}, Spec.unit(2, 1))


class Made:
    """A task whose environments a function makes."""

    def __init__(self, make) -> None:
        self.environment = make


def changed(**methods):
    """A maker of environments with other methods, below a time limit and a hazard as tasks have them."""
    kind = type("Faulty", (Counted,), methods)
    return lambda: HazardWrapper(gymnasium.wrappers.TimeLimit(kind(), 10), NoHazard())


def stepping(*values):
    """An environment whose step returns these values, with a good observation where `...` stands."""
    return changed(step=lambda self, action: tuple(self.look() if value is ... else value for value in values))


def raising(error: BaseException):
    def method(self, *args, **kwargs):
        raise error

    return method


GOOD = np.zeros(2, np.float32)
FIRST = {  # environment, what is said of its first step
    "old step": (stepping(..., 1.0, False, {}), r"ValueError: not enough values to unpack .*; step must return obser"),
    "array reward": (stepping(..., np.ones(1), False, False, {}), r"reward must be a real number, got array\(\[1.\]\)"),
    "list reward": (stepping(..., [1.0], False, False, {}), r"reward must be a real number, got \[1.0\]"),
    "complex reward": (stepping(..., 1j, False, False, {}), "reward must be a real number, got 1j"),
    "text reward": (stepping(..., "1", False, False, {}), "reward must be a real number, got '1'"),
    "no reward": (stepping(..., None, False, False, {}), "reward must be a real number, got None"),
    "nan reward": (stepping(..., float("nan"), False, False, {}), "the reward is nan .*, episode 0, step 1"),
    "no terminated": (stepping(..., 1.0, None, False, {}), "terminated must be true or false, got None"),
    "array truncated": (stepping(..., 1.0, False, np.zeros(1, bool), {}), "truncated must be true or false, got array"),
    "no info": (stepping(..., 1.0, False, False, None), "info must be a mapping, got None"),
    "long observation": (stepping(np.zeros(3), 1.0, False, False, {}), r"shape \(2,\), got \(3,\) .*, step 1"),
    "scalar observation": (stepping(0.0, 1.0, False, False, {}), r"shape \(2,\), got \(\)"),
    "text observation": (stepping(["a", "b"], 1.0, False, False, {}), r"real numbers, got \['a', 'b'\]"),
    "nan observation": (stepping([0, np.nan], 1.0, False, False, {}), "observation, coordinate 1, is nan"),
    "large observation": (stepping([1e300, 0], 1.0, False, False, {}), r"observation, coordinate 0, is 1e\+300"),
    "old reset": (changed(reset=lambda self, **_: self.look()), "reset must return an observation and a mapping"),
    "reset without seed": (changed(reset=lambda self: (GOOD, {})), "TypeError: .*unexpected keyword argument"),
    "reset to another shape": (changed(reset=lambda self, **_: (np.zeros(3), {})), r"got \(3,\) .*, reset"),
    "other numbers": (
        changed(observation_space=gymnasium.spaces.Box(0, 9, (2,), np.int64), look=lambda self: np.zeros(2)),
        "observation must be int64, got float64",
    ),
    "raises": (changed(step=raising(RuntimeError("the simulator\nis gone"))), "RuntimeError: the simulator is gone"),
    "exits": (changed(step=raising(SystemExit(3))), r"SystemExit: 3 \(Faulty, episode 0, step 1"),
    "cannot be made": (raising(RuntimeError("no licence")), "RuntimeError: no licence .*episode 0 is made"),
    "makes other spaces": (
        lambda made=[]: made.append(0) or changed(observation_space=gymnasium.spaces.Box(0, len(made), (2,)))(),
        "cannot be stepped together",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FIRST)
def test_what_is_wrong_with_a_first_step_is_one_line(kind, agent):
    make, text = FIRST[kind]
    with pytest.raises(InputError, match=text) as caught:
        try_out(agent, Made(make if kind != "cannot be made" else lambda: make(None)), Evaluation(), 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reward", [1, True, np.float32(1), np.int64(1), np.array(1.0), np.longdouble(1)])
@pytest.mark.parametrize("end", [np.True_, np.array(True)])
def test_numbers_and_flags_of_numpy_are_taken(reward, end, agent):
    make = stepping([0, 1], reward, end, False, {})
    try_out(agent, Made(make), Evaluation(), 0)
    assert rollout(agent, make, [(0, 0)]) == [{"return": 1.0, "length": 1, "risky_steps": 0, "penalties": 0}]


def test_trying_out_draws_from_no_generator(agent):
    def step(self, action):
        return self.look(), np.random.rand() + random.random(), False, False, {}  # noqa: NPY002

    agent = Agent.build({"actor": "gaussian", "critic": "mean", "risk": "neutral"}, Spec.unit(2, 1))
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    try_out(agent, Made(changed(step=step)), Evaluation(), 0)
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]


def test_an_action_outside_the_box_is_refused(agent, monkeypatch):
    monkeypatch.setattr(Agent, "act", lambda self, observation: np.full((len(observation), 1), 1.5))
    with pytest.raises(InputError, match=r"the policy's action \[1.5\] is outside the box"):
        try_out(agent, Made(changed()), Evaluation(), 0)


def test_a_signal_is_no_fault_of_the_environment(agent):
    with pytest.raises(Interrupted):
        rollout(agent, changed(step=raising(Interrupted("stopped", 2))), [(0, 0)])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_reward_that_is_not_finite_names_episode_and_step(value, agent):
    def step(self, action):
        found = Counted.step(self, action)
        return (found[0], value if self.length == 4 and self.t == 2 else 1.0, *found[2:])

    lengths = iter([3, 5, 4])
    kind = type("Bad", (Counted,), {"step": step})
    with pytest.raises(NonFinite, match=rf"the reward is {value:g} \(Bad, episode 12, step 2\)") as caught:
        rollout(agent, lambda: kind(next(lengths)), [(0, 0)] * 3, first=10)
    assert caught.value.where == {"episode": 12, "step": 2, "reward": f"{value:g}"}


def test_a_return_beyond_float64_and_an_observation_that_is_nan(agent):
    with pytest.raises(NonFinite, match=r"the reward is 1e\+308 \(Faulty, episode 0, step 2\)"):
        rollout(agent, stepping(..., 1e308, False, False, {}), [(0, 0)])
    with pytest.raises(NonFinite, match=r"coordinate 0, is nan .*, step 2") as caught:
        rollout(agent, changed(look=lambda self: np.full(2, np.nan if self.t == 2 else 0)), [(0, 0)])
    assert caught.value.where == {"episode": 0, "step": 2, "observation": "nan"}


def test_nothing_that_happens_after_an_episode_counts(agent):
    """The short episode's environment, which would fail then, is left alone while the long one is stepped."""

    class Short(Counted):
        resets = 0

        def reset(self, **more):
            self.resets += 1
            return super().reset(**more)

        def step(self, action):
            if self.resets > 1:
                raise OSError("not again")
            return super().step(action)

    made = [Short(2), Short(7)]
    remaining = iter(made)
    rows = rollout(agent, lambda: next(remaining), [(0, 0)] * 2)
    assert [(row["return"], row["length"]) for row in rows] == [(2.0, 2), (7.0, 7)]
    assert [(env.resets, env.t) for env in made] == [(1, 2), (1, 7)]


def test_infos_of_any_kind_and_arrays_that_are_shared(agent):
    shared, kinds = np.zeros(2, np.float32), (np.zeros(1), np.zeros(2), None, "text", {"a": 1}, object())

    def look(self):
        shared[:] = self.t
        return shared

    def step(self, action):
        found = Counted.step(self, action)
        info = {"contacts": kinds[self.t % len(kinds)], 1: 2, "risky": self.t == 2, "penalty": np.float64(self.t == 3)}
        return *found[:4], info

    seen, lengths = [], iter([2, 4])
    kind = type("Odd", (Counted,), {"look": look, "step": step})
    rows = rollout(agent, lambda: kind(next(lengths)), [(0, 0)] * 2, lambda *given: seen.append(given[1].tolist()))
    assert rows == [
        {"return": 2.0, "length": 2, "risky_steps": 1, "penalties": 0},
        {"return": 4.0, "length": 4, "risky_steps": 1, "penalties": 1},
    ]
    assert seen[:2] == [[[0, 0], [0, 0]], [[1, 1], [1, 1]]]


def test_closing_an_environment_may_fail(agent):
    with pytest.warns(UserWarning, match="closing the environment of episode 0 failed: OSError: gone"):
        assert rollout(agent, changed(close=raising(OSError("gone"))), [(0, 0)])[0]["return"] == 3


def test_environments_are_closed_after_a_fault(agent):
    closed = []

    def close(self):
        closed.append(self)

    good, bad = changed(close=close), changed(step=raising(KeyError("joint")), close=close)
    unmade = changed(__init__=raising(OSError("no display")))
    narrow = changed(action_space=gymnasium.spaces.Box(-1, 1, (2,), np.float32), close=close)
    for makers, count in (((good, bad), 2), ((good, unmade), 1), ((good, narrow), 2)):
        with pytest.raises(EnvironmentFault) as caught:
            rollout(agent, partial(next, (make() for make in makers)), [(0, 0)] * 2)
        assert len(closed) == count, caught.value
        closed.clear()


def test_the_fault_of_an_episode_says_where(agent):
    def step(self, action):
        if self.t == 2:
            raise KeyError("joint")
        return Counted.step(self, action)

    with pytest.raises(EnvironmentFault, match=r"^KeyError: 'joint' \(Faulty, episode 1, step 3\)$"):
        sound = iter([changed(), changed(step=step)])
        rollout(agent, lambda: next(sound)(), [(0, 0)] * 2)


def test_no_warning_of_an_ordinary_evaluation(agent):
    with warnings.catch_warnings(action="error"):
        rollout(agent, changed(), [(0, 0)] * 3)
