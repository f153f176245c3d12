"""Minari's datasets: by id, downloaded when absent, or by folder."""

import sys
import warnings
from collections.abc import Iterator
from os.path import isdir
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from ramac.data import Log
from ramac.data.columns import narrow
from ramac.data.kinds import ID
from ramac.data.sources import Source
from ramac.data.storage import datasets_root, exists, place, reason, staged
from ramac.errors import InputError, nearest
from ramac.registry import sources


@sources.register("minari")
class Minari(Source):
    """A Minari dataset: its id, downloaded when it is not on disk, or its folder.

    Paper: Younis et al. 2024, Minari.
    """

    def load(self, place: str) -> Log:
        folder = Path(place).expanduser() / "data"
        path = folder if isdir(folder) else download(place)
        try:
            return read(path, place)
        except InputError:
            raise
        except Exception as error:  # a damaged file raises whatever the storage layer raises
            raise InputError(f"dataset {place!r} cannot be read: {reason(error)}") from error


def download(dataset_id: str) -> Path:
    """Folder of a dataset's data, downloaded when it is not on disk. Raises InputError."""
    import minari

    if not ID.fullmatch(dataset_id):
        raise InputError(
            f"data={dataset_id!r} is no file, no folder of a Minari dataset, and no Minari id such as"
            " 'mujoco/hopper/expert-v0'"
        )
    if not exists(dataset_id):
        print(f"{dataset_id} is not on disk: asking Minari's server for it", file=sys.stderr)
        try:
            from huggingface_hub.utils import logging

            logging.set_verbosity_error()  # it prints two lines per retry; ours names the last error
            with staged(dataset_id) as part, datasets_root(part):
                minari.download_dataset(dataset_id)
        except Exception as error:  # no network, no such dataset, a full disk: each library has errors of its own
            known = on_disk()
            raise InputError(
                f"no dataset {dataset_id!r} on disk, and it cannot be downloaded ({reason(error)});"
                f" on disk: {', '.join(known) or 'none'}{nearest(dataset_id, known)}; where there is a network:"
                f" minari download {dataset_id}"
            ) from error
    return place(dataset_id) / "data"


def on_disk() -> list[str]:
    """Ids of the Minari datasets that can be read."""
    import minari

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Minari warns of each damaged one
        return list(minari.list_local_datasets())


def read(path: Path, name: str) -> Log:
    """Every episode of a Minari dataset. Raises InputError when it is not made of flat arrays."""
    import minari

    dataset = minari.MinariDataset(path)
    steps = int(dataset.total_steps)
    space, actions = dataset.observation_space, dataset.action_space
    if not all(isinstance(each, Box) and len(each.shape) == 1 for each in (space, actions)):
        raise InputError(f"dataset {name!r}: observations and actions must be flat arrays, got {space} and {actions}")
    if not steps:
        raise InputError(f"dataset {name!r} has no steps")
    action, ended, starts, first = np.empty((steps, *actions.shape), np.float32), np.empty(steps, bool), [], 0
    before, after, reward = np.empty(0), np.empty(0), np.empty(steps)
    for observations, actions, rewards, terminated in _episodes(dataset, path):
        if not starts:
            kind = np.float32 if observations.dtype == np.float32 else np.float64  # `narrow` looks at the values
            before, after = (np.empty((steps, *space.shape), kind) for _ in range(2))
        rows = slice(first, first + len(rewards))
        before[rows], after[rows] = observations[:-1], observations[1:]
        action[rows], reward[rows], ended[rows] = actions, rewards, terminated
        starts.append(first)
        first = rows.stop
    if first != steps:
        raise InputError(f"dataset {name!r}: {first} steps found, {steps} announced")
    (before, after), (reward,) = narrow(before, after), narrow(reward)
    return Log(before, action, reward, after, ended, np.array(starts), environment=dataset.spec.env_spec)


def _episodes(dataset: Any, path: Path) -> Iterator[tuple[np.ndarray, ...]]:
    """Observations, actions, rewards and terminations of each episode.

    HDF5 is read below Minari's `iterate_episodes`, which takes four times as long where episodes are short (a million
    steps in 4000 episodes: 14 s and 3.5 s on a busy core).
    """
    import h5py

    columns = {"observations": None, "actions": np.float32, "rewards": np.float64, "terminations": np.bool_}
    if not (path / "main_data.hdf5").is_file():  # Minari's other storage
        for episode in dataset.iterate_episodes():
            yield tuple(np.asarray(getattr(episode, key)) for key in columns)
        return
    with h5py.File(path / "main_data.hdf5", "r") as file:
        for index in dataset.episode_indices:
            parts = []
            for key, kind in columns.items():
                node = h5py.h5d.open(file.id, f"episode_{index}/{key}".encode())
                parts.append(np.empty(node.shape, kind or node.dtype))
                node.read(h5py.h5s.ALL, h5py.h5s.ALL, parts[-1])
            yield tuple(parts)
