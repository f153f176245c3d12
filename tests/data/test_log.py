"""A log: returns beyond a cut, what float32 can hold, and the statistics of its columns."""

import gymnasium
import numpy as np
import pytest
import torch

from ramac.agent import Agent
from ramac.data import from_arrays
from ramac.losses import build_terms
from ramac.registry import critics, trainers
from ramac.spec import Scaling

BOX = gymnasium.spaces.Box(-1, 1, (1,))


def pieces(reward, length, terminal=False):
    """Episodes of `length` steps that terminate or are cut."""
    count = len(reward)
    nothing, end = np.zeros((count, 1)), np.arange(count) % length == length - 1
    return from_arrays(nothing, nothing, reward, end & terminal, end & ~np.asarray(terminal), nothing)


@pytest.mark.parametrize("length", [1, 10, 100])
def test_a_reward_of_1_for_ever_is_worth_100(length):
    log = pieces(np.ones(1000), length)
    assert log.returns_to_go(0.99) == pytest.approx(np.full(1000, 100.0), rel=1e-12)
    spec = log.spec(BOX, 0.99)
    assert (spec.return_mean, spec.return_std) == (pytest.approx(100), 1)
    assert (*spec.return_range, *spec.return_limits) == pytest.approx((100,) * 4)


def test_a_terminated_episode_is_complete():
    log = pieces(np.arange(12.0), 4, terminal=True)
    assert np.array_equal(log.returns_to_go(0.9), log.logged_returns(0.9))
    assert not log.beyond(0.9).any()
    spec = log.spec(BOX, 0.9)
    assert (spec.return_std, spec.return_limits) == (log.logged_returns(0.9).std(), None)


def test_the_mean_beyond_a_cut_is_a_fixed_point():
    """Of [1, then a cut] and [3, then an end] with gamma 1/2: V = ((1 + V / 2) + 3) / 2 = 8/3."""
    log = pieces([1.0, 3.0], 1, terminal=np.array([False, True]))
    assert log.returns_to_go(0.5) == pytest.approx([1 + 4 / 3, 3])
    assert log.returns_to_go(0.5).mean() == pytest.approx(8 / 3)


def test_without_a_finite_mean_returns_stay_as_they_are():
    log = pieces(np.ones(20), 10)
    assert np.array_equal(log.returns_to_go(1.0), log.logged_returns(1.0))
    assert log.spec(BOX, 1.0).return_limits is None
    half = pieces(np.ones(20), 1, terminal=np.arange(20) % 2 == 0)
    assert half.returns_to_go(1.0).mean() == pytest.approx(2), "an end at every second step"


def test_the_deviation_counts_what_follows_a_cut():
    """Independent rewards of deviation s, one to a piece: s / sqrt(1 - gamma^2)."""
    reward = np.random.default_rng(0).normal(1, 3, 500)
    expected = reward.std() / np.sqrt(1 - 0.9**2)
    assert pieces(reward, 1).spec(BOX, 0.9).return_std == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["c51", "hlgauss"])
def test_atoms_hold_the_return_of_the_best_piece_for_ever(name):
    spec = pieces(np.repeat([0.0, 2.0], 100), 10).spec(BOX, 0.99)
    assert spec.return_limits == pytest.approx((0, 200))
    critic = critics.build(name, spec)
    low, high = critic.scaling.to_return(critic.atom[[0, -1]]).tolist()
    assert low <= 1e-3 and high >= 200 - 1e-3


def offset(count=500):
    """Observations of 1.7e9 +- 100 and in units of 1e-5, two constant ones; rewards of 1e8 +- 1."""
    random = np.random.default_rng(0)
    wide, tiny, reward = (
        1.7e9 + 100 * random.normal(size=count),
        1e-5 * random.normal(size=count),
        random.normal(size=count),
    )
    observation = np.stack([wide, tiny, np.full(count, 0.1), np.zeros(count)], 1)
    last = np.ones(count, bool)
    return from_arrays(observation, np.zeros((count, 1)), 1e8 + reward, last, ~last, observation), observation, reward


def test_what_float32_cannot_hold_is_held_in_float64():
    log, observation, reward = offset()
    assert (log.observation.dtype, log.next_observation.dtype, log.reward.dtype) == (np.float64,) * 3
    scaling, batch = Scaling(log.spec(BOX, 0.0)), log.transitions()
    seen = scaling.observe(batch["observation"])
    plain = (observation[:, :2] - observation[:, :2].mean(0)) / observation[:, :2].std(0)
    assert np.allclose(seen[:, :2].numpy(), plain, atol=1e-5)
    assert seen[:, 2:].abs().max() < 1e-12, "constant columns"
    standard = scaling.to_standard(batch["next", "reward"])
    assert (seen.dtype, standard.dtype) == (torch.float32,) * 2
    assert np.allclose(standard.squeeze(-1).numpy(), (reward - reward.mean()) / reward.std(), atol=1e-5)


def test_what_float32_holds_stays_float32():
    random = np.random.default_rng(0)
    for offset, kind in ((0, np.float32), (1e3, np.float32), (1e6, np.float64)):
        values = offset + random.normal(size=(50, 1))
        log = from_arrays(values, np.zeros((50, 1)), values[:, 0], np.ones(50), np.zeros(50))
        assert (log.observation.dtype, log.reward.dtype) == (kind, kind)
        single = values.astype(np.float32)  # a source in float32 is taken as it is
        assert from_arrays(single, single * 0, single[:, 0], np.ones(50), np.zeros(50)).observation.dtype == np.float32
    constant = from_arrays(np.full((50, 1), 0.1), np.zeros((50, 1)), np.full(50, 0.1), np.ones(50), np.zeros(50))
    assert (constant.observation.dtype, constant.reward.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize("critic", ["iqn", "c51"])
def test_a_log_in_float64_trains(critic):
    log, *_ = offset(64)
    agent = Agent.build({"actor": "gaussian", "critic": critic, "risk": "cvar0.5"}, log.spec(BOX, 0.9))
    terms = build_terms(
        {"td": "td", "bc": "bc", "risk": {"name": "risk", "warmup": 0, "ramp": 0}}, agent.actor.data_spec
    )
    trainer = trainers.build(
        {**trainers.plain("default"), "steps": 2, "batch_size": 8}, agent, terms, log.transitions(), 0
    )
    for metrics in trainer.run():
        assert all(torch.isfinite(value) for value in metrics.values())
    assert agent.act(log.observation).dtype == np.float32
