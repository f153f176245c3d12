"""Datasets: built from policies, read back exactly, relabelled, and refused when they cannot be used."""

import json
import os

import minari
import numpy as np
import pytest
from gymnasium.spaces import Box
from minari.data_collector import EpisodeBuffer

from ramac import collect, data
from ramac.errors import InputError
from ramac.hazards import Hazard, HazardWrapper
from ramac.registry import tasks


@pytest.fixture(autouse=True)
def own_datasets(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    monkeypatch.delenv("RAMAC_POLICIES", raising=False)


def write_policy(path, obs_dim=11, act_dim=3, **more):
    random = np.random.default_rng(0)
    arrays = {
        "W0": random.normal(0, 0.1, (act_dim, obs_dim)),
        "b0": np.zeros(act_dim),
        "log_std": np.full(act_dim, -1.0),
    }
    arrays |= {"obs_mean": np.zeros(obs_dim), "obs_std": np.ones(obs_dim), "obs_clip": np.inf}
    np.savez(path, **{**arrays, "activation": "none", "squash": "clip", **more})


@pytest.fixture
def policies(tmp_path):
    folder = tmp_path / "policies"
    folder.mkdir()
    for name in ("hopper-zoo-sac", "hopper-zoo-tqc"):
        write_policy(folder / f"{name}.npz")
    return folder


def hopper(**arguments):
    return tasks.build({**tasks.plain("hopper-medium-expert"), "transitions": 300, **arguments})


def store(dataset_id="bad/data-v0", length=20, obs_dim=11, act_dim=3, change=lambda parts: None):
    """A small Minari dataset with one thing wrong."""
    parts = {
        "observations": np.zeros((length + 1, obs_dim), np.float32),
        "actions": np.zeros((length, act_dim), np.float32),
        "rewards": np.ones(length, np.float32),
    }
    change(parts)
    ends = {"terminations": np.zeros(length, bool), "truncations": np.arange(length) == length - 1}
    minari.create_dataset_from_buffers(
        dataset_id,
        [EpisodeBuffer(**parts, **ends)],
        observation_space=Box(-np.inf, np.inf, (obs_dim,), np.float32),
        action_space=Box(-np.inf, np.inf, (act_dim,), np.float32),
        algorithm_name="none", author="none", author_email="none", code_permalink="none", description="none",
    )  # fmt: skip
    return dataset_id


def test_a_missing_dataset_is_built_once(policies, capsys):
    first = hopper(policies=str(policies)).dataset()
    assert "built from hopper-zoo-sac and hopper-zoo-tqc" in first.origin
    assert len(first.transitions) >= 300
    again = hopper().dataset()
    assert "built" not in again.origin
    assert (first.transitions == again.transitions).all()


def test_loaded_data_are_what_minari_stored(policies):
    hopper(policies=str(policies)).dataset()
    log = data.load("ramac/hopper/medium-expert-300-v0")
    episodes = list(minari.load_dataset("ramac/hopper/medium-expert-300-v0").iterate_episodes())
    assert len(log.start) == len(episodes)
    for start, episode in zip(log.start, episodes, strict=True):
        rows = slice(start, start + len(episode.rewards))
        assert np.array_equal(log.observation[rows], episode.observations[:-1])
        assert np.array_equal(log.next_observation[rows], episode.observations[1:])
        assert np.array_equal(log.action[rows], episode.actions)
        assert np.array_equal(log.reward[rows], episode.rewards)
        assert np.array_equal(log.terminated[rows], episode.terminations)
    assert np.abs(log.observation).sum() > 0


def test_the_same_seed_collects_the_same_episodes(policies):
    from tqdm import tqdm

    policy = collect.BehaviourPolicy(policies / "hopper-zoo-sac.npz")
    with tqdm(disable=True) as bar:
        one, two = (list(collect.episodes("Hopper-v5", policy, 200, 3, bar)) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a.observations, b.observations)
        assert np.array_equal(a.actions, b.actions)
    assert sum(len(episode.rewards) for episode in one) >= 200
    assert all(episode.terminations[-1] or episode.truncations[-1] for episode in one), "whole episodes only"


def test_a_build_that_dies_leaves_nothing_behind(policies, tmp_path, monkeypatch):
    class Killed(Exception): ...

    def die(*_, **__):
        raise Killed

    monkeypatch.setattr(collect.BehaviourPolicy, "act", die)
    with pytest.raises(Killed):
        hopper(policies=str(policies)).dataset()
    assert not data.exists("ramac/hopper/medium-expert-300-v0")
    assert [p for p in (tmp_path / "datasets").rglob("*") if p.is_file()] == []
    assert os.environ["MINARI_DATASETS_PATH"] == str(tmp_path / "datasets")


def test_policy_networks_follow_their_description(tmp_path):
    """Two layers, tanh, a log-std head and a squashed action, against plain lines."""
    random = np.random.default_rng(1)
    arrays = {"W0": (5, 4), "b0": 5, "W1": (2, 5), "b1": 2, "W_log_std": (2, 5), "b_log_std": 2, "obs_mean": 4}
    arrays = {key: random.normal(size=size).astype(np.float32) for key, size in arrays.items()}
    arrays |= {"obs_std": np.full(4, 2.0, np.float32), "obs_clip": np.float32(10)}
    np.savez(tmp_path / "p.npz", **arrays, activation="tanh", squash="tanh", meta=json.dumps({}))
    observation = random.normal(size=(3, 4)).astype(np.float32)
    action = collect.BehaviourPolicy(tmp_path / "p.npz").act(observation, np.random.default_rng(7))
    hidden = np.tanh((observation - arrays["obs_mean"]) / 2 @ arrays["W0"].T + arrays["b0"])
    std = np.exp((hidden @ arrays["W_log_std"].T + arrays["b_log_std"]).clip(-20, 2))
    mean = hidden @ arrays["W1"].T + arrays["b1"]
    assert np.allclose(action, np.tanh(mean + std * np.random.default_rng(7).standard_normal((3, 2))), atol=1e-6)


def test_hazards_are_a_function_of_seed_and_state():
    hazard = Hazard(coordinate=1, low=-0.1, high=0.1, probability=0.5, penalty=-50.0)
    states = np.random.default_rng(0).normal(0, 0.2, (10_000, 3))
    penalty, risky = hazard.draw(states, np.random.default_rng(3))
    again, _ = hazard.draw(states, np.random.default_rng(3))
    assert np.array_equal(penalty, again)
    assert np.array_equal(risky, np.abs(states[:, 1]) > 0.1)
    assert set(penalty) == {0.0, -50.0}
    assert not penalty[~risky].any()
    assert (penalty[risky] < 0).mean() == pytest.approx(0.5, abs=0.03)


def test_the_dataset_is_relabelled_by_the_task_hazard(policies):
    task = hopper(policies=str(policies))
    relabelled, log = task.dataset().transitions, data.load("ramac/hopper/medium-expert-300-v0")
    penalty, _ = task.hazard.draw(log.next_observation, np.random.default_rng(0))
    assert np.allclose(relabelled["next", "reward"].squeeze(-1).numpy(), log.reward + penalty)


def test_environment_and_dataset_share_the_hazard():
    task = hopper()
    env = task.environment()
    assert isinstance(env, HazardWrapper)
    assert env.hazard is task.hazard
    env.reset(seed=5)
    seen = []
    for _ in range(200):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert info["risky"] == bool(task.hazard.risky(observation))
        assert reward - info["clean_reward"] == (-50.0 if info["penalty"] else 0.0)
        seen.append(info["risky"])
        if terminated or truncated:
            env.reset()
    assert any(seen)


@pytest.mark.parametrize(("task", "horizon"), [("halfcheetah", 200), ("hopper", 500), ("walker2d", 500)])
def test_tasks_of_the_paper(task, horizon):
    entry = tasks.build(f"{task}-medium-expert")
    env = entry.environment()
    assert entry.horizon == env.get_wrapper_attr("_max_episode_steps") == horizon
    env.reset(seed=0)
    assert env.step(env.action_space.sample())[0].shape == env.observation_space.shape


def test_only_termination_is_terminal(policies):
    assert not data.load(store()).terminated.any(), "the only episode was truncated"
    hopper(policies=str(policies)).dataset()
    log = data.load("ramac/hopper/medium-expert-300-v0")
    assert np.array_equal(np.flatnonzero(log.terminated) + 1, [*log.start[1:], len(log.reward)]), "each of these fell"


def test_returns_to_go_stop_at_episode_ends():
    reward, start = np.array([1, 1, 1, 5, 5], np.float32), np.array([0, 3])
    none = np.zeros((5, 1), np.float32)
    log = data.Log(none, none, reward, none, np.zeros(5, bool), start)
    assert np.allclose(log.returns_to_go(0.5), [1.75, 1.5, 1, 7.5, 5])
    assert np.allclose(log.returns(2), [2, 10])


def refused(message, **arguments):
    with pytest.raises(InputError, match=message):
        hopper(**arguments).dataset()


def test_a_dataset_of_other_shapes_is_refused():
    refused(
        r"'bad/data-v0' does not fit Hopper-v5: observations have shape \(17,\), not \(11,\)", dataset=store(obs_dim=17)
    )
    refused(r"actions have shape \(6,\), not \(3,\)", dataset=store("bad/actions-v0", act_dim=6))


def test_nan_rewards_are_refused():
    def change(parts):
        parts["rewards"][7] = np.nan

    refused("reward is nan or infinite in 1 of 20 steps, first at step 7", dataset=store(change=change))


def test_actions_outside_the_box_are_refused():
    def change(parts):
        parts["actions"][3] = 1.5

    refused(r"actions outside the box \[-1, 1\] in 1 of 20 steps, first at step 3", dataset=store(change=change))


def test_missing_things_are_named(tmp_path):
    refused("policies folder '.*nowhere' does not exist", policies=str(tmp_path / "nowhere"))
    refused("set task.policies=FOLDER", policies=None)
    refused("no dataset 'no/such-v0' on disk.*minari download no/such-v0", dataset="no/such-v0")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused("has no hopper-zoo-sac.npz", policies=str(empty))
    (empty / "hopper-zoo-sac.npz").write_bytes(b"not a zip")
    write_policy(empty / "hopper-zoo-tqc.npz")
    refused("hopper-zoo-sac.npz cannot be read", policies=str(empty))


def test_a_damaged_dataset_is_refused(tmp_path):
    dataset_id = store()
    (file,) = (tmp_path / "datasets").rglob("*.hdf5")
    file.write_bytes(file.read_bytes()[:1000])
    refused("cannot be read", dataset=dataset_id)


def test_policies_that_do_not_fit_leave_nothing_behind(policies, tmp_path):
    write_policy(policies / "hopper-zoo-sac.npz", obs_dim=17)
    refused("hopper-zoo-sac takes 17 observations, Hopper-v5 has 11", policies=str(policies))
    assert [p for p in (tmp_path / "datasets").rglob("*") if p.is_file()] == []
