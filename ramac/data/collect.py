"""Build an offline dataset in Minari format from behaviour policies stored as plain arrays."""

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import gymnasium
import numpy as np
from minari import create_dataset_from_buffers
from minari.data_collector import EpisodeBuffer
from tqdm import tqdm

from ramac.data.storage import datasets_root, exists, place, staged
from ramac.environments import made, make
from ramac.errors import InputError, nearest
from ramac.text import say

ENVIRONMENTS = 8  # stepped together, so that one matrix product serves all
OWN = Path(__file__).parent / "policies"
COLUMNS = ("observations", "actions", "rewards", "terminations", "truncations")


class BehaviourPolicy:
    """Stochastic policy read from an npz file: observation normalisation, fully connected layers, Gaussian noise.

    Arrays: `W0, b0, W1, b1, ...` (out, in), `obs_mean`, `obs_std`, `obs_clip`, `activation`, `squash`, and `log_std` or
    a head `W_log_std`, `b_log_std` on the last hidden layer. Raises InputError when the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        try:
            with np.load(path, allow_pickle=False) as file:
                self.arrays = dict(file)
            depth = sum(key[0] == "W" and key[1:].isdigit() for key in self.arrays)
            self.layers = [(self.arrays[f"W{i}"], self.arrays[f"b{i}"]) for i in range(depth)]
            self.sizes = self.layers[0][0].shape[1], self.layers[-1][0].shape[0]  # observations, actions
            self.mean, self.std, self.clip = (self.arrays[f"obs_{key}"] for key in ("mean", "std", "clip"))
            self.tanh, self.squash = str(self.arrays["activation"]) == "tanh", str(self.arrays["squash"])
            if str(self.arrays["activation"]) not in ("tanh", "relu", "none") or self.squash not in ("tanh", "clip"):
                raise ValueError("activation must be tanh, relu or none, and squash tanh or clip")
            for key, array in self.arrays.items():
                if key != "obs_clip" and array.dtype.kind == "f" and not np.isfinite(array).all():
                    raise ValueError(f"{key} is nan or infinite")
            if not (self.std > 0).all():
                raise ValueError("obs_std must be positive")
            if self.act(np.zeros((1, self.sizes[0])), np.random.default_rng(0)).shape != (1, self.sizes[1]):
                raise ValueError("the layers do not fit together")
            self.digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        except (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, BadZipFile) as error:
            raise InputError(f"policy file {path} cannot be read: {error}") from error

    def act(self, observation: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """observation [B, O] -> action [B, A] in [-1, 1], sampled."""
        x = ((observation.astype(np.float32) - self.mean) / self.std).clip(-self.clip, self.clip)
        for weight, bias in self.layers[:-1]:
            x = x @ weight.T + bias
            x = np.tanh(x) if self.tanh else np.maximum(x, 0)
        weight, bias = self.layers[-1]
        action = x @ weight.T + bias
        if "W_log_std" in self.arrays:
            log_std = (x @ self.arrays["W_log_std"].T + self.arrays["b_log_std"]).clip(-20, 2)
            action = action + np.exp(log_std) * random.standard_normal(action.shape)
        elif "log_std" in self.arrays:
            action = action + np.exp(self.arrays["log_std"]) * random.standard_normal(action.shape)
        action = np.tanh(action) if self.squash == "tanh" else action
        return action.clip(-1, 1).astype(np.float32)


def find_policies(folder: str | Path, names: Sequence[str]) -> list[BehaviourPolicy]:
    """Policies `<name>.npz` of a folder. Raises InputError that names the folder or file that is missing."""
    if not Path(folder).is_dir():
        raise InputError(f"policies folder {str(folder)!r} does not exist")
    present = sorted(path.stem for path in Path(folder).glob("*.npz"))
    for name in names:
        if name not in present:
            raise InputError(f"policies folder {str(folder)!r} has no {name}.npz{nearest(name, present)}")
    return [BehaviourPolicy(Path(folder, f"{name}.npz")) for name in names]


def episodes(
    environment_id: str, policy: BehaviourPolicy, transitions: int, seed: int, bar: tqdm
) -> Iterator[EpisodeBuffer]:
    """Whole episodes of at least `transitions` steps in all; the same seed gives the same episodes, bit for bit.

    A new episode starts only while the running ones, at the mean length so far, will not give enough steps. Every
    started episode is finished: stopping at a step count would drop the long ones.
    """
    envs = [make(environment_id, disable_env_checker=True) for _ in range(ENVIRONMENTS)]
    assert envs[0].spec
    finished: list[int] = []
    random, started, taken = np.random.default_rng(seed), 0, 0
    running: dict[int, tuple[list, list, list, list, list]] = {}
    free = list(range(ENVIRONMENTS))
    while taken < transitions or running:
        expected = np.mean(finished) if finished else envs[0].spec.max_episode_steps or transitions
        due = taken + sum(max(expected - len(columns[1]), 0) for columns in running.values())
        while free and taken < transitions and (due < transitions or not running):
            slot = free.pop()
            first, _ = envs[slot].reset(seed=seed * 1_000_000 + started)
            running[slot] = ([first.astype(np.float32)], [], [], [], [])
            started, due = started + 1, due + expected
        slots = list(running)
        actions = policy.act(np.stack([running[slot][0][-1] for slot in slots]), random)
        if not np.isfinite(actions).all():  # finite weights can be so large that they overflow
            raise InputError(f"policy {policy.name} gives non-finite actions in {environment_id}")
        for slot, action in zip(slots, actions, strict=True):
            after, reward, terminated, truncated, _ = envs[slot].step(action)
            row = after.astype(np.float32), action, np.float32(reward), terminated, truncated
            for column, value in zip(running[slot], row, strict=True):
                column.append(value)
            taken += 1
            if terminated or truncated:
                columns: list[Any] = [np.array(column) for column in running.pop(slot)]
                free.append(slot)
                finished.append(len(columns[1]))
                yield EpisodeBuffer(None, None, None, *columns)
        bar.update(len(slots))
    for env in envs:
        env.close()


def collected(path: Path, parts: Iterator[EpisodeBuffer]) -> Iterator[EpisodeBuffer]:
    """The episodes, by way of one atomically written file, so that a build after a killed one need not repeat them."""
    if not path.exists():
        kept = list(parts)
        flat = {key: np.concatenate([getattr(buffer, key) for buffer in kept]) for key in COLUMNS}
        flat["lengths"] = np.array([len(buffer.rewards) for buffer in kept])
        np.savez(path.with_suffix(".tmp.npz"), **flat)  # pyright: ignore[reportArgumentType]  (its stub)
        os.replace(path.with_suffix(".tmp.npz"), path)
    with np.load(path) as file:
        flat = dict(file)
    ends = np.cumsum(flat["lengths"])[:-1]
    stops = dict.fromkeys(COLUMNS, ends) | {"observations": ends + np.arange(1, len(ends) + 1)}  # one more each
    columns: list[Any] = [np.split(flat[key], stops[key]) for key in COLUMNS]
    for episode in zip(*columns, strict=True):
        yield EpisodeBuffer(None, None, None, *episode)


def build(
    dataset_id: str, environment_id: str, policies: list[BehaviourPolicy], transitions: int, seed: int = 0
) -> Path:
    """Collect an equal share of `transitions` from each policy and store them under `dataset_id`; returns the folder.

    Raises InputError when a policy does not fit the environment or the disk cannot take the dataset.
    """
    with made(environment_id) as env:
        sizes = [(space.shape or (0,))[0] for space in (env.observation_space, env.action_space)]
    for policy in policies:
        for size, found, what in zip(sizes, policy.sizes, ("observations", "actions"), strict=True):
            if size != found:
                raise InputError(f"policy {policy.name} takes {found} {what}, {environment_id} has {size}")
    share = -(-transitions // len(policies))
    total = share * len(policies)
    needed = 3 * total * 4 * (sum(sizes) + 2)  # parts, dataset, and room to spare
    pause = 0.5 if sys.stderr.isatty() else 30  # in a log file
    label = f"building {dataset_id}"

    def all_episodes() -> Iterator[EpisodeBuffer]:
        for i, policy in enumerate(policies):  # numbered seeds keep the policies' episodes apart
            fresh = episodes(environment_id, policy, share, seed + i, bar)
            yield from collected(part / f"{i}-{policy.digest}.npz", fresh)
            bar.n = max(bar.n, (i + 1) * share)  # includes the shares that an earlier build has left

    with staged(dataset_id, needed) as part, tqdm(total=total, unit="step", desc=label, mininterval=pause) as bar:
        if not exists(dataset_id):  # another process may have made it meanwhile
            buffers: Any = all_episodes()  # Minari asks for a list, and takes any iterable: memory stays flat
            with datasets_root(part):
                create_dataset_from_buffers(dataset_id, buffers, **_metadata(env, policies, share, seed))
        else:
            say(f"{dataset_id}: another process has made it meanwhile", error=True)
    return place(dataset_id)


def _metadata(env: gymnasium.Env, policies: list[BehaviourPolicy], share: int, seed: int) -> dict[str, Any]:
    names = ", ".join(policy.name for policy in policies)
    versions = {name: version(name) for name in ("mujoco", "gymnasium")}
    assert env.spec
    return {
        **dict.fromkeys(("env", "eval_env"), env.spec.id),
        "observation_space": gymnasium.spaces.Box(-np.inf, np.inf, env.observation_space.shape, np.float32),
        "action_space": env.action_space,
        "algorithm_name": names,
        "author": "ramac",
        **dict.fromkeys(("author_email", "code_permalink"), "none"),
        "description": f"{share} steps of each of {names}, sampled actions, clean rewards. Not D4RL data. "
        + json.dumps({"seed": seed, **versions}),
        "requirements": [f"{name}=={number}" for name, number in versions.items()],
    }
