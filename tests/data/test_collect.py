"""Datasets built from behaviour policies: whole, the same for the same seed, and never half there."""

import csv
import json
import os
import signal
import time
from pathlib import Path

import minari
import numpy as np
import pytest
from tqdm import tqdm

from ramac.data import collect
from ramac.data.sources import load
from ramac.data.storage import exists, staged
from ramac.errors import InputError
from ramac.registry import tasks
from ramac.tasks.mujoco import HAZARDS
from trials.datasets import hopper, store, write_policy
from trials.processes import ramac, start


@pytest.fixture
def policies(tmp_path):
    folder = tmp_path / "policies"
    folder.mkdir()
    for name in ("low", "high"):
        write_policy(folder / f"{name}.npz")
    return folder


def built(policies, **arguments):
    return hopper(policies=str(policies), behaviour=("low", "high"), **arguments)


def test_a_missing_dataset_is_built_once(policies):
    first = built(policies).dataset()
    assert f"{built(policies).dataset_id}, built in " in first.origin
    assert len(first.transitions) >= 300
    again = built(policies).dataset()
    assert "built" not in again.origin
    assert (first.transitions == again.transitions).all()


@pytest.mark.parametrize("name", HAZARDS)
def test_the_tasks_need_nothing_but_the_package(name):
    task = tasks.build({**tasks.plain(name), "transitions": 10})
    assert len(set(task.behaviour)) == (4 if "expert" in name else 10), "two gaits of each level"
    for policy in collect.find_policies(collect.OWN, task.behaviour):
        assert policy.sizes == tuple(
            s.shape[0] for s in (task.environment().observation_space, task.environment().action_space)
        )


def test_policies_are_small_and_measured():
    rows = {row["policy"]: row for row in csv.DictReader((collect.OWN / "returns.csv").open())}
    files = {path.stem: path for path in collect.OWN.glob("*.npz")}
    assert set(rows) == set(files)
    assert all(path.stat().st_size <= 50_000 for path in files.values())
    assert {name for task in HAZARDS for name in tasks.build(task).behaviour} == set(files)


def test_our_policies_still_do_what_the_table_says():
    """A few episodes of Hopper's weakest policy, whose returns hardly vary."""
    rows = {row["policy"]: row for row in csv.DictReader((collect.OWN / "returns.csv").open())}
    policy = collect.BehaviourPolicy(collect.OWN / "hopper-a-010.npz")
    with tqdm(disable=True) as bar:
        returns = [buffer.rewards.sum() for buffer in collect.episodes("Hopper-v5", policy, 1000, 7, bar)]
    row = rows["hopper-a-010"]
    assert np.mean(returns) == pytest.approx(float(row["return_mean"]), abs=3 * float(row["return_std"]))


def test_the_same_seed_collects_the_same_episodes(policies):
    policy = collect.BehaviourPolicy(policies / "low.npz")
    with tqdm(disable=True) as bar:
        one, two = (list(collect.episodes("Hopper-v5", policy, 200, 3, bar)) for _ in range(2))
        (other, *_) = collect.episodes("Hopper-v5", policy, 20, 4, bar)
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a.observations, b.observations)
        assert np.array_equal(a.actions, b.actions)
    assert not np.array_equal(one[0].observations[0], other.observations[0])


@pytest.mark.parametrize("transitions", [1, 200, 1000])
def test_episodes_are_whole_and_no_more_than_needed(policies, transitions):
    policy = collect.BehaviourPolicy(policies / "low.npz")
    with tqdm(disable=True) as bar:
        found = list(collect.episodes("Hopper-v5", policy, transitions, 3, bar))
    assert all(buffer.terminations[-1] or buffer.truncations[-1] for buffer in found)
    lengths = [len(buffer.rewards) for buffer in found]
    assert transitions <= sum(lengths) <= transitions + 3 * max(lengths)


def test_a_build_that_fails_leaves_nothing_behind(policies, tmp_path, monkeypatch):
    class Failed(Exception): ...

    def fail(*_, **__):
        raise Failed

    monkeypatch.setattr(collect.BehaviourPolicy, "act", fail)
    with pytest.raises(Failed):
        built(policies).dataset()
    assert list((tmp_path / "datasets").rglob("*")) == []
    assert os.environ["MINARI_DATASETS_PATH"] == str(tmp_path / "datasets")


def test_a_build_that_waited_for_another_says_so(policies, capsys):
    task = built(policies)
    store(task.dataset_id)  # while the build waits
    collect.build(task.dataset_id, "Hopper-v5", task.found(), task.transitions)
    assert f"{task.dataset_id}: another process has made it meanwhile" in capsys.readouterr().err


def slow_build(*settings):
    act = collect.BehaviourPolicy.act

    def wait(self, *given):
        if self.name == "high":
            time.sleep(1)
        return act(self, *given)

    collect.BehaviourPolicy.act = wait
    ramac("data", "build", "hopper-medium-expert", *settings)


def build_on_a_full_disk(*settings):
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    ramac("data", "build", "hopper-medium-expert", *settings)


def test_a_killed_build_is_no_dataset_and_is_continued(policies, tmp_path):
    """SIGKILL after the first policy's share: that share is kept, the rest is collected, the result is the same."""
    settings = (f"policies={policies}", "behaviour=[low,high]", "transitions=300")
    process = start(slow_build, *settings)
    name = built(policies).dataset_id
    part, end = tmp_path / "datasets" / f".part-{name.replace('/', '_')}", time.time() + 120
    while not list(part.glob("0-????????.npz")) and time.time() < end:
        time.sleep(0.1)
    process.kill()
    process.join()
    (share,) = part.glob("0-????????.npz")
    assert not exists(name)
    assert name not in minari.list_local_datasets()
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        episodes = collect.episodes

        def spy(environment_id, policy, *rest):
            asked.append(policy.name)
            yield from episodes(environment_id, policy, *rest)

        patch.setattr(collect, "episodes", spy)
        log = built(policies).dataset().log
    assert set(asked) == {"high"}
    assert not share.exists()
    (tmp_path / "datasets").rename(tmp_path / "elsewhere")
    assert np.array_equal(log.observation, built(policies).dataset().log.observation)


def test_a_full_disk_is_said_and_leaves_nothing(policies, tmp_path):
    """A real one: the process may write files of 20 kB only."""
    settings = (f"policies={policies}", "behaviour=[low,high]", "transitions=3000")
    process = start(build_on_a_full_disk, *settings, output=(os.devnull, str(tmp_path / "err.txt")))
    process.join()
    said = (tmp_path / "err.txt").read_text()
    assert process.exitcode == 2, said
    assert "-3000-v1 cannot be written" in said.splitlines()[-1]
    assert "the disk is full" in said.splitlines()[-1]
    assert list((tmp_path / "datasets").rglob("*")) == []


def test_too_little_room_is_said_before_any_work():
    with (
        pytest.raises(InputError, match=r"x/y-v0 needs about 1000000000000 MB and .* has \d+ MB free"),
        staged("x/y-v0", needed=10**18),
    ):
        pytest.fail("the block must not run")


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


def refused(message, **arguments):
    with pytest.raises(InputError, match=message):
        hopper(**arguments).dataset()


def test_missing_things_are_named(tmp_path):
    refused("policies folder '.*nowhere' does not exist", policies=str(tmp_path / "nowhere"), behaviour=("low",))
    refused("behaviour .* and policies .* go together", policies=str(tmp_path))
    empty = tmp_path / "empty"
    empty.mkdir()
    refused("has no low.npz", policies=str(empty), behaviour=("low",))
    (empty / "low.npz").write_bytes(b"not a zip")
    refused("low.npz cannot be read", policies=str(empty), behaviour=("low",))


def test_policies_that_do_not_fit_leave_nothing_behind(policies, tmp_path):
    write_policy(policies / "low.npz", obs_dim=17)
    refused("low takes 17 observations, Hopper-v5 has 11", policies=str(policies), behaviour=("low", "high"))
    assert not list(Path(tmp_path / "datasets").rglob("*"))


def test_mixes_hold_whole_episodes_of_every_policy(policies):
    write_policy(policies / "high.npz", W0=np.zeros((3, 11)), log_std=np.full(3, -9.0))
    built(policies).dataset()
    log = load(built(policies).dataset_id)
    still = np.array([np.abs(log.action[a:b]).max() < 0.01 for a, b in zip(log.start, log.stop, strict=True)])
    assert 0 < still.mean() < 1
    assert np.array_equal(still, np.sort(still)), "the first policy's episodes come first"


def test_other_policies_are_other_data(policies, tmp_path):
    first = built(policies).dataset_id
    write_policy(policies / "high.npz", W0=np.ones((3, 11)))
    assert built(policies).dataset_id != first
    write_policy(policies / "high.npz", activation="Tanh")
    refused(
        "high.npz cannot be read: activation must be tanh, relu or none", policies=str(policies), behaviour=("high",)
    )
    write_policy(policies / "high.npz", obs_mean=np.zeros(17))
    refused("high.npz cannot be read", policies=str(policies), behaviour=("high",))


def test_what_is_in_the_way_is_not_lost(policies, tmp_path):
    folder = tmp_path / "datasets" / built(policies).dataset_id
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("precious")
    refused("is in the way: it holds no dataset", policies=str(policies), behaviour=("low", "high"), transitions=300)
    assert (folder / "mine.txt").read_text() == "precious"
