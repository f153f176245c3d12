"""The detector of out-of-distribution actions: its parts against plain lines, its rates on data it has not seen."""

import numpy as np
import pytest

from ramac.data import from_arrays, ood
from ramac.data.ood import Detector
from ramac.errors import InputError


def log_of(observation, action, length):
    """Episodes of this many steps."""
    steps = len(observation)
    last = np.arange(steps) % length == length - 1
    return from_arrays(observation, action, np.zeros(steps), last & False, last, observation)


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
    return log_of(np.concatenate(states), np.concatenate(actions), length)


def test_the_statistic_is_the_nearest_action_among_the_nearest_states_of_other_episodes():
    log = logged(episodes=12)
    detector = Detector(log, [-1, -4], [1, 0], neighbours=5, queries=40)
    scaled = (log.observation - log.observation.mean(0)) / (log.observation.std(0) + 1e-3)
    unit = (log.action - [0, -2]) / [1, 2]
    episode = np.repeat(np.arange(12), 50)
    distance = []
    for step in detector.steps:
        others = np.flatnonzero(episode != episode[step])
        near = others[np.argsort(np.linalg.norm(scaled[others] - scaled[step], axis=1))[:5]]
        distance.append(np.linalg.norm(unit[near] - unit[step], axis=1).min())
    assert np.allclose(detector.distance(detector.own, log.action[detector.steps]), distance, atol=1e-5)
    assert detector.threshold == pytest.approx(np.sort(distance)[38], abs=1e-5), "ceil(0.95 41) = 39 of 40"
    assert detector.paper_threshold == pytest.approx(3 * np.median(distance), abs=1e-5)


def test_neighbours_are_of_other_episodes():
    detector = Detector(logged(2, 3), neighbours=3, alpha=0.2)
    assert np.sort(detector.own).tolist() == [[3, 4, 5]] * 3 + [[0, 1, 2]] * 3
    assert (detector.episode[detector.own] != detector.episode[detector.steps][:, None]).all()


@pytest.mark.parametrize(
    ("shape", "alpha", "message"),
    [
        ((1, 4), 0.2, "3 logged steps of other episodes are needed, there are 0"),
        ((2, 9), 0.05, "a nominal rate of 0.05 needs 19 logged steps, there are 18"),
        ((2, 9), 1.0, r"alpha must be inside \(0, 1\), got 1.0"),
    ],
)
def test_too_few_data_and_a_rate_that_is_none_are_refused(shape, alpha, message):
    with pytest.raises(InputError, match=message):
        Detector(logged(*shape), neighbours=3, alpha=alpha)


def test_long_episodes_are_looked_past(monkeypatch):
    """Few neighbours at a time, so that whole episodes have to be left out by trees of their own."""
    log = logged(episodes=3, length=400)
    plain = Detector(log, queries=100)
    monkeypatch.setattr(ood, "MOST", 40)
    assert np.allclose(plain.distances, Detector(log, queries=100).distances)


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_fresh_episodes_are_flagged_at_the_nominal_rate(alpha):
    """Within sampling error: coverage is Beta(n + 1 - l, l), l = alpha (n + 1), seen in as many fresh steps."""
    rates = []
    for seed in range(10):
        fresh = logged(seed=100 + seed)
        rates.append(Detector(logged(seed=seed), alpha=alpha).flags(fresh.observation, fresh.action).mean())
    assert np.mean(rates) == pytest.approx(alpha, abs=3 * (alpha * (1 - alpha) * 2 / 3000 / 10) ** 0.5)


def test_the_threshold_of_uniform_actions_in_closed_form():
    """Of a on [0, 1] and the nearest of 10: P(d > t) = (1 - 2t)^11 + 2/11 ((1 - t)^11 - (1 - 2t)^11)."""
    tails = []
    for seed in range(5):
        random = np.random.default_rng(seed)
        log = log_of(random.normal(size=(4000, 2)), random.uniform(3, 5, (4000, 1)), 10)
        detector = Detector(log, [3], [5])
        t = detector.threshold / 2  # the box is 2 wide
        tails.append((1 - 2 * t) ** 11 + 2 / 11 * ((1 - t) ** 11 - (1 - 2 * t) ** 11))
        above = (detector.distances > detector.threshold).sum()
        assert above in (198, 199), "199 of 4000 by rank; two steps that are each other's nearest tie"
    assert np.mean(tails) == pytest.approx(0.05, abs=3 * (0.05 * 0.95 / 4000 / 5) ** 0.5)


def two_scales(random, observation, small):
    """A noisy first coordinate of +-100, and a second one of +-`small` that the state determines."""
    first = np.tanh(observation[:, 0] + random.normal(size=len(observation)))
    return np.stack([100 * first, small * np.tanh(observation[:, 1])], 1)


@pytest.mark.parametrize("box", [([-100, -0.1], [100, 0.1]), ()])
def test_the_wrong_end_of_a_small_coordinate_is_seen(box):
    random = np.random.default_rng(0)
    observation = random.normal(size=(4000, 3)).astype(np.float32)
    log = log_of(observation, two_scales(random, observation, 0.1), 20)
    report = Detector(log, *box).report(
        lambda state: two_scales(random, state, 0.1) * [1, 0] - [0, 0.1] * np.sign(state[:, 1:2])
    )
    assert report["rate"] > 0.99
    assert report["data"] == pytest.approx(0.05, abs=1e-3)


def test_the_units_of_actions_do_not_count():
    log = logged(20)
    low, high, scale = np.array([-1.0, -1.0]), np.array([1.0, 1.0]), np.array([2.0**10, 2.0**-7])
    other = log_of(log.observation, log.action * scale + [2.0**10, 0], 50)
    first, second = Detector(log, low, high), Detector(other, low * scale + [2.0**10, 0], high * scale + [2.0**10, 0])
    assert np.allclose(first.distances, second.distances, atol=1e-6)
    rates = first.report(lambda state: state[:, :2]), second.report(lambda state: state[:, :2] * scale + [2.0**10, 0])
    assert rates[0]["rate"] == pytest.approx(rates[1]["rate"], abs=2e-3)
    assert rates[0]["threshold"] == pytest.approx(rates[1]["threshold"], rel=1e-3)


def saturating(share, seed=0):
    """Actions at 1 in this share of steps, else uniform, whatever the state."""
    random = np.random.default_rng(seed)
    action = np.where(random.random((4000, 1)) < share, 1.0, random.uniform(-1, 1, (4000, 1)))
    return log_of(random.normal(size=(4000, 3)), action, 20)


def test_data_at_a_bound_have_a_threshold():
    """Six tenths of the actions are 1: the median distance is 0, and with it the paper's threshold."""
    log = saturating(0.6)
    detector = Detector(log, [-1], [1])
    assert np.median(detector.distances) == 0
    assert detector.threshold > 0.1
    near = detector.report(lambda observation: np.clip(log.action - 0.016, -1, 1))
    assert near["data"] == pytest.approx(0.05, abs=1e-3)
    assert near["rate"] == pytest.approx(near["data"], abs=0.01)
    assert detector.report(lambda observation: np.full((len(observation), 1), 0.999))["rate"] == 0
    fresh = saturating(0.6, seed=1)
    assert detector.flags(fresh.observation, fresh.action).mean() == pytest.approx(0.05, abs=0.015)
    assert near["paper"]["threshold"] == 0
    assert near["paper"]["rate"] == 1
    assert near["paper"]["data"] == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize(("share", "least"), [(0.99, True), (0.9, False)])
def test_the_threshold_is_rounding_only_where_nearly_all_distances_are_0(share, least):
    detector = Detector(saturating(share), [-1], [1])
    assert ((detector.distances == 0).mean() > 0.95) == least
    assert (detector.threshold == ood.ROUNDING) == least
    spacing = np.float32(1) - np.spacing(np.float32(0.5))
    assert detector.report(lambda observation: np.full((len(observation), 1), spacing))["rate"] == 0


def test_a_report_depends_on_nothing_but_its_arguments():
    detector, fresh = Detector(logged(20)), logged(20, seed=1)

    def act(observation):
        return observation[:, :2] / 3

    first, held = detector.report(act), detector.report(act, fresh)
    assert detector.report(act) == first
    assert detector.report(act, fresh) == held
    assert detector.report(act, seed=1)["uniform"] != first["uniform"]


def test_the_curve_is_the_report_at_other_rates():
    log, fresh = logged(20), logged(20, seed=1)
    curve = Detector(log).report(lambda observation: observation[:, :2] / 3, fresh)["curve"]
    assert [row["nominal"] for row in curve] == [0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
    for row in curve:
        other = Detector(log, alpha=row["nominal"]).report(lambda observation: observation[:, :2] / 3, fresh)
        assert {key: other[key] for key in row} == row
    few = Detector(logged(4, 10), alpha=0.2).report(lambda observation: observation[:, :2], fresh)["curve"]
    assert [row["nominal"] for row in few] == [0.05, 0.1, 0.2, 0.5], "1 % needs 99 steps"


def test_observations_at_the_end_of_float32():
    log = logged(20)
    wide = log_of(log.observation * np.float32(1.5e38), log.action, 50)
    detector = Detector(wide)
    assert np.allclose(detector.distances, Detector(log_of(log.observation * 1e6, log.action, 50)).distances)
    assert detector.report(lambda observation: np.full((len(observation), 2), 9.0))["rate"] == 1


def test_the_mean_of_two_gaits_is_out_of_distribution():
    """What a unimodal clone does: the average of what is right."""
    detector = Detector(logged())
    wrong = detector.report(lambda observation: np.zeros((len(observation), 2), np.float32))
    right = detector.report(lambda observation: 0.5 * observation[:, :2])
    nothing = detector.report(lambda observation: np.full((len(observation), 2), np.nan))
    assert (wrong["rate"], nothing["rate"]) == (pytest.approx(1, abs=0.1), 1)
    assert right["rate"] < 0.02
    assert wrong["uniform"] > 0.5
    assert wrong["paper"]["rate"] > 0.9
    assert wrong["paper"]["kappa"] == 3


def test_the_standard_error_is_that_of_episodes():
    """A policy that is wrong in whole episodes: as if there were as many observations as episodes."""
    log = logged()
    detector = Detector(log)  # asks at every logged state, in order
    assert detector.steps.tolist() == list(range(3000))
    wrong = np.arange(3000) // 50 % 3 == 0
    result = detector.report(lambda _: np.where(wrong[:, None], 5, log.action).astype(np.float32))
    flagged = detector.distance(detector.own, log.action) > detector.threshold
    rates = (wrong | flagged).reshape(60, 50).mean(1)
    assert result["rate"] == pytest.approx(rates.mean())
    assert result["standard_error"] == pytest.approx(rates.std() / 60**0.5)
