"""Hazards: the same function of the step for data and environment, seeded, in the published versions and ours."""

import math

import gymnasium
import numpy as np
import pytest

from ramac.data import from_arrays
from ramac.errors import InputError
from ramac.hazards import HazardWrapper
from ramac.registry import hazards, tasks
from ramac.tasks import configured
from ramac.tasks.mujoco import HAZARDS
from trials.datasets import arrays, hopper, log_of


def make(name, **arguments):
    return hazards.build({**hazards.plain(name), **arguments})


def test_a_hazard_is_a_function_of_seed_and_step():
    hazard = make("pose", low=-0.1, high=0.1, probability=0.5)
    log = log_of(np.random.default_rng(0).normal(0, 0.2, 10_000))
    one, two, other = hazard.relabel(log, 3), hazard.relabel(log, 3), hazard.relabel(log, 4)
    assert np.array_equal(one.reward, two.reward)
    assert not np.array_equal(one.reward, other.reward)
    assert np.array_equal(one.risky, np.abs(log.next_observation[:, 1]) > np.float32(0.1))
    assert set(one.penalty) == {0.0, -50.0}
    assert not one.penalty[~one.risky].any()
    assert (one.penalty[one.risky] < 0).mean() == pytest.approx(0.5, abs=0.03)
    assert np.array_equal(one.reward, log.reward + one.penalty)
    assert np.array_equal(one.clean_reward, log.reward)


def test_relabelling_twice_does_not_add_up():
    hazard, log = make("pose", probability=1.0), log_of([0.0, 0.1, 0.1])
    once = hazard.relabel(log, 0)
    assert once.reward.tolist() == [1, -49, -49]
    assert hazard.relabel(once, 0).reward.tolist() == [1, -49, -49]
    assert make("none").relabel(once, 0).reward.tolist() == [1, 1, 1]


@pytest.mark.parametrize("task", HAZARDS)
@pytest.mark.parametrize("version", ["v1", "ramac-v2", "oraac-v0"])
def test_environment_and_data_agree_on_every_step(task, version):
    """An episode is logged from the environment; relabelling its clean rewards finds the same risks and costs."""
    entry = tasks.build({**tasks.plain(task), "hazard": version})
    entry.hazard.probability = 1.0  # every risk strikes, so that the costs show too
    entry.hazard.low, entry.hazard.high = (
        entry.hazard.low / 20,
        entry.hazard.high / 20,
    )  # within a random policy's reach
    env = entry.environment()
    assert isinstance(env, HazardWrapper)
    assert env.hazard is entry.hazard
    random, rows, infos = np.random.default_rng(0), [], []
    for episode in range(4):
        observation, _ = env.reset(seed=episode)
        done = False
        while not done:
            action = random.uniform(-1, 1, env.action_space.shape).astype(np.float32)
            after, reward, terminated, truncated, info = env.step(action)
            rows.append((observation, action, info["clean_reward"], terminated, truncated, after))
            assert reward == info["clean_reward"] + info["penalty"]
            infos.append(info)
            observation, done = after, terminated or truncated
    log = entry.hazard.relabel(from_arrays(*(np.array(column) for column in zip(*rows, strict=True))), 0)
    assert len(log.reward) == len(rows)
    assert log.risky.tolist() == [info["risky"] for info in infos]
    assert np.allclose(log.penalty, [info["penalty"] for info in infos], atol=1e-4)
    assert 0 < log.risky.mean() < 1


def test_the_task_relabels_and_wraps_with_one_object():
    task = configured({"task": {**tasks.plain("hopper-medium-expert")}, "hazard": hazards.plain("pose")})
    task.use(data=log_of([0.0, 0.3, -0.3], [True, False, True]))
    data = task.dataset()
    assert task.environment().hazard is task.hazard
    assert data.log.risky.tolist() == [False, True, True]
    assert np.array_equal(
        data.transitions["next", "reward"].squeeze(-1).numpy(), data.log.clean_reward + data.log.penalty
    )


def test_the_environment_draws_from_its_own_generator():
    def penalties(noise):
        env = HazardWrapper(gymnasium.make("Hopper-v5"), make("pose", low=-1e-9, high=1e-9, probability=0.5))
        env.reset(seed=5)
        seen = []
        for _ in range(15):
            for _ in range(noise):
                env.unwrapped.np_random.random()
            seen.append(env.step(np.zeros(3))[4]["penalty"])
        return seen

    assert penalties(0) == penalties(3)
    assert {0.0, -50.0} == set(penalties(0))


def test_v1_ends_episodes_in_the_data_where_it_ends_them_in_the_environment():
    hazard = make("pose", fall=0.3)
    log = log_of([0.0, 0.31, 0.0, 0.0, 0.0, -0.4, 0.5, 0.0], [0, 0, 0, 1, 0, 0, 0, 1])
    kept = hazard.relabel(log, 0)
    assert kept.next_observation[:, 1].tolist() == pytest.approx([0.0, 0.31, 0.0, -0.4])
    assert kept.terminated.tolist() == [False, True, False, True]
    assert kept.start.tolist() == [0, 2]
    left_alone = make("pose", fall=0.3, fall_in_data=False).relabel(log, 0)
    assert left_alone.terminated.tolist() == log.terminated.tolist()
    env = HazardWrapper(gymnasium.make("Hopper-v5"), make("pose", fall=1e-6))
    env.reset(seed=0)
    assert env.step(np.zeros(3))[2], "the environment ends at the same rule"


def test_oraac_cheetah_takes_the_forward_reward_of_a_fast_step():
    env, hazard = gymnasium.make("HalfCheetah-v5"), make("velocity", low=-math.inf, high=0.0, step_average=True)
    env.reset(seed=0)
    random, checked = np.random.default_rng(0), 0
    for _ in range(50):
        action = random.uniform(-1, 1, 6).astype(np.float32)
        after, reward, _, _, info = env.step(action)
        risky = hazard.risky(action, np.float32(reward), after)
        assert risky == (info["x_velocity"] > 0)
        assert hazard.cost(action, np.float32(reward)) == pytest.approx(-70 - info["reward_forward"], abs=1e-5)
        checked += bool(risky)
    assert 0 < checked < 50


def test_oraac_pose_spares_the_fallen():
    hazard = make("pose", low=-0.1, high=0.1, healthy=0.2)
    assert hazard.relabel(log_of([0.0, 0.15, 0.25, -0.15]), 0).risky.tolist() == [False, True, False, True]


def test_published_numbers():
    """algorithms.md D3: RAMAC's wrapper and ORAAC's."""
    cheetah, hopper_v2 = HAZARDS["halfcheetah-medium-expert"]["ramac-v2"], HAZARDS["hopper-medium-expert"]["ramac-v2"]
    assert (cheetah["low"], cheetah["high"], cheetah["penalty"]) == (-10, 10, -70)
    assert make(**cheetah).probability == 0.05
    assert (hopper_v2["low"], hopper_v2["high"], hopper_v2["penalty"], hopper_v2["fall"]) == (-0.17, 0.04, -50, 4.0)
    assert make(**hopper_v2).probability == 0.1
    oraac = HAZARDS["walker2d-mixed"]["oraac-v0"]
    assert (oraac["low"], oraac["high"], oraac["penalty"], oraac["healthy"]) == (-0.5, 0.5, -30, 1.0)


@pytest.mark.parametrize(("task", "horizon"), [("halfcheetah", 200), ("hopper", 500), ("walker2d", 500)])
@pytest.mark.parametrize("mix", ["medium-expert", "mixed"])
def test_tasks_of_the_paper(task, mix, horizon):
    entry = tasks.build(f"{task}-{mix}")
    env = entry.environment()
    assert entry.horizon == env.get_wrapper_attr("_max_episode_steps") == horizon
    assert hopper(horizon=1000).environment().get_wrapper_attr("_max_episode_steps") == 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": 1.0, "high": 0.0}, "hazard=pose: low must be below high, got 1 and 0"),
        ({"probability": 1.5}, r"probability must be in \[0, 1\], got 1.5"),
        ({"probability": math.nan}, "probability must be at least 0, got nan"),
        ({"penalty": 5.0}, "penalty is added to the reward: it must be finite and at most 0, got 5"),
        ({"fall": 0.0}, "healthy and fall must be above 0"),
    ],
)
def test_impossible_hazards_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        make("pose", **arguments)


def test_a_coordinate_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="coordinate must be below 11, the size of an observation; got 12"):
        make("pose", coordinate=12).relabel(from_arrays(**arrays()), 0)
