"""The detector of out-of-distribution actions: its parts against plain lines, its rates on data it has not seen."""

import numpy as np
import pytest

from ramac.data import from_arrays, ood
from ramac.data.ood import Detector
from ramac.errors import InputError


def logged(episodes=60, length=50, seed=0):
    """States wander on a circle; the action is one of two gaits, functions of the state, with noise of 0.1."""
    random, angle = np.random.default_rng(seed), np.linspace(0, 4, length)
    states, actions = [], []
    for episode in range(episodes):
        phase = random.uniform(0, 2 * np.pi) + angle
        state = np.stack([np.cos(phase), np.sin(phase), random.normal(0, 0.05, length)], 1)
        gait = 1 if episode % 2 else -1
        states.append(state)
        actions.append(gait * 0.5 * state[:, :2] + random.normal(0, 0.1, (length, 2)))
    last = np.arange(episodes * length) % length == length - 1
    observation = np.concatenate(states)
    return from_arrays(observation, np.concatenate(actions), np.zeros(len(last)), last & False, last, observation)


def test_the_statistic_is_the_nearest_action_among_the_nearest_states_of_other_episodes():
    log = logged(episodes=12)
    detector = Detector(log, neighbours=5, queries=40)
    scaled = (log.observation - log.observation.mean(0)) / (log.observation.std(0) + 1e-3)
    episode = np.repeat(np.arange(12), 50)
    distance = []
    for step in detector.steps:
        others = np.flatnonzero(episode != episode[step])
        near = others[np.argsort(np.linalg.norm(scaled[others] - scaled[step], axis=1))[:5]]
        distance.append(np.linalg.norm(log.action[near] - log.action[step], axis=1).min())
    assert np.allclose(detector.distance(detector.own, log.action[detector.steps]), distance, atol=1e-5)
    assert detector.threshold == pytest.approx(3 * np.median(distance), abs=1e-5)
    assert detector.nominal == pytest.approx((np.array(distance) > detector.threshold).mean())


def test_neighbours_are_of_other_episodes():
    detector = Detector(logged(2, 3), neighbours=3)
    assert np.sort(detector.own).tolist() == [[3, 4, 5]] * 3 + [[0, 1, 2]] * 3
    assert (detector.episode[detector.own] != detector.episode[detector.steps][:, None]).all()
    with pytest.raises(InputError, match="3 logged steps of other episodes are needed, there are 0"):
        Detector(logged(1, 4), neighbours=3)


def test_long_episodes_are_looked_past(monkeypatch):
    """Few neighbours at a time, so that whole episodes have to be left out by trees of their own."""
    log = logged(episodes=3, length=400)
    plain = Detector(log, queries=100)
    monkeypatch.setattr(ood, "MOST", 40)
    assert np.allclose(plain.distance(plain.own, log.action[plain.steps]),
                       (few := Detector(log, queries=100)).distance(few.own, log.action[few.steps]))  # fmt: skip


def test_rates_on_held_out_data_and_on_random_actions():
    detector, fresh = Detector(logged()), logged(seed=1)
    rate = detector.flags(fresh.observation, fresh.action).mean()
    assert rate == pytest.approx(detector.nominal, abs=0.01)
    uniform = np.random.default_rng(0).uniform(-1, 1, fresh.action.shape)
    assert detector.flags(fresh.observation, uniform).mean() > 0.5


def test_the_mean_of_two_gaits_is_out_of_distribution():
    """What a unimodal clone does: the average of what is right."""
    detector = Detector(logged())
    wrong = detector.report(lambda observation: np.zeros((len(observation), 2), np.float32))
    right = detector.report(lambda observation: 0.5 * observation[:, :2])
    assert wrong["rate"] > 0.9
    assert right["rate"] < 0.02
    assert wrong["data"] == detector.nominal
    assert wrong["uniform"] > 0.5


def test_the_standard_error_is_that_of_episodes():
    """A policy that is wrong in whole episodes: as if there were as many observations as episodes."""
    log = logged()
    detector = Detector(log)  # asks at every logged state, in order
    assert detector.steps.tolist() == list(range(3000))
    wrong = np.arange(3000) // 50 % 3 == 0
    result = detector.report(lambda _: np.where(wrong[:, None], 5, log.action).astype(np.float32))
    rates = (wrong | detector.flagged).reshape(60, 50).mean(1)
    assert result["rate"] == pytest.approx(rates.mean())
    assert result["standard_error"] == pytest.approx(rates.std() / 60**0.5)
