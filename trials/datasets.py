"""Small datasets and policies for tests."""

import h5py
import minari
import numpy as np
from gymnasium.spaces import Box
from minari.data_collector import EpisodeBuffer

from ramac.data import from_arrays
from ramac.registry import tasks


def write_policy(path, obs_dim=11, act_dim=3, **more):
    random = np.random.default_rng(0)
    arrays = {
        "W0": random.normal(0, 0.1, (act_dim, obs_dim)),
        "b0": np.zeros(act_dim),
        "log_std": np.full(act_dim, -1.0),
    }
    arrays |= {"obs_mean": np.zeros(obs_dim), "obs_std": np.ones(obs_dim), "obs_clip": np.inf}
    np.savez(path, **{**arrays, "activation": "none", "squash": "clip", **more})


def hopper(**arguments):
    return tasks.build({**tasks.plain("hopper-medium-expert"), "transitions": 300, **arguments})


def store(dataset_id="bad/data-v0", lengths=(20,), obs_dim=11, act_dim=3, change=lambda parts: None, **options):
    """A small Minari dataset; `change` may spoil the arrays of each episode. Odd episodes fall, even ones are cut."""
    random, buffers = np.random.default_rng(0), []
    for i, length in enumerate(lengths):
        last = np.arange(length) == length - 1
        parts = {
            "observations": random.normal(size=(length + 1, obs_dim)).astype(np.float32),
            "actions": random.uniform(-1, 1, (length, act_dim)).astype(np.float32),
            "rewards": random.normal(size=length).astype(np.float32),
        }
        change(parts)
        ends = {"terminations": last & bool(i % 2), "truncations": last & (not i % 2)}
        buffers.append(EpisodeBuffer(**parts, **ends))
    minari.create_dataset_from_buffers(
        dataset_id,
        buffers,
        observation_space=Box(-np.inf, np.inf, (obs_dim,), np.float32),
        action_space=Box(-np.inf, np.inf, (act_dim,), np.float32),
        **dict.fromkeys(("algorithm_name", "author", "author_email", "code_permalink", "description"), "none"),
        **options,
    )
    return dataset_id


def arrays(steps=30, obs_dim=11, act_dim=3):
    """Plain D4RL arrays: episodes of ten steps, every second one terminal."""
    random, last = np.random.default_rng(0), np.arange(steps) % 10 == 9
    odd = np.arange(steps) // 10 % 2 == 1
    return {
        "observations": random.normal(size=(steps, obs_dim)),
        "actions": random.uniform(-1, 1, (steps, act_dim)),
        "rewards": random.normal(size=steps),
        "terminals": last & odd,
        "timeouts": last & ~odd,
    }


def write_d4rl(path, **arguments):
    with h5py.File(path, "w") as file:
        for key, value in arguments.items():
            file[key] = value
    return str(path)


def log_of(pitch, terminals=None, coordinate=1):
    """A log whose next observations have these values in one coordinate; rewards 1."""
    steps = len(pitch)
    after = np.zeros((steps, 11))
    after[:, coordinate] = pitch
    ends = np.zeros(steps, bool) if terminals is None else np.asarray(terminals)
    return from_arrays(np.zeros((steps, 11)), np.zeros((steps, 3)), np.ones(steps), ends, np.zeros(steps), after)
