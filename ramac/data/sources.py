"""Where logged data come from: a Minari id (downloaded when absent), a Minari folder, a D4RL file, several joined."""

import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from ramac.data import Log, concatenate, from_arrays
from ramac.data.storage import causes, datasets_root, exists, place, staged
from ramac.errors import InputError, nearest

ID = re.compile(r"(?:[\w-]+/)*[\w-]+-v\d+")
KEYS = ("observations", "actions", "rewards", "terminals", "timeouts")


def load(source: str) -> Log:
    """Read `mujoco/hopper/expert-v0`, `path/to/file.hdf5`, a Minari folder, or several of these joined by `+`.

    Raises InputError when a part is missing, damaged, or of other shapes than the rest.
    """
    if "+" in source and not Path(source).expanduser().exists():
        return concatenate([_one(part) for part in source.split("+")])
    return _one(source)


def _one(source: str) -> Log:
    path = Path(source).expanduser()
    if path.is_file() or path.suffix in (".hdf5", ".h5"):
        return read_d4rl(path)
    return read_minari(path / "data" if (path / "data").is_dir() else locate(source), source)


def locate(dataset_id: str) -> Path:
    """Folder of a Minari dataset's data, downloaded first when it is not on disk. Raises InputError."""
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

            logging.set_verbosity_error()  # it prints two lines per retry; the last is told below
            with staged(dataset_id) as part, datasets_root(part):
                minari.download_dataset(dataset_id)
        except Exception as error:  # no network, no such dataset, a full disk: each library has errors of its own
            known = on_disk()
            raise InputError(
                f"no dataset {dataset_id!r} on disk, and it cannot be downloaded ({_reason(error)});"
                f" on disk: {', '.join(known) or 'none'}{nearest(dataset_id, known)}; where there is a network:"
                f" minari download {dataset_id}"
            ) from error
    return place(dataset_id) / "data"


def on_disk() -> list[str]:
    """Ids of the Minari datasets that can be read."""
    import minari

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about damaged ones
        return list(minari.list_local_datasets())


def _reason(error: BaseException) -> str:
    """The first line of the innermost cause."""
    *_, cause = causes(error)
    return f"{type(cause).__name__}: {cause}".splitlines()[0][:160]


def read_minari(path: Path, name: str) -> Log:
    """Every episode of a Minari dataset, in float32. Raises InputError when it is damaged or not made of arrays."""
    import minari

    try:
        dataset = minari.MinariDataset(path)
        steps = int(dataset.total_steps)
        space, actions = dataset.observation_space, dataset.action_space
        if not isinstance(space, gymnasium.spaces.Box) or not isinstance(actions, gymnasium.spaces.Box):
            raise InputError(f"dataset {name!r}: observations and actions must be arrays, got {space} and {actions}")
        if len(space.shape) != 1 or len(actions.shape) != 1:
            raise InputError(f"dataset {name!r}: observations and actions must be flat, got {space} and {actions}")
        if not steps:
            raise InputError(f"dataset {name!r} has no steps")
        log = Log(
            np.empty((steps, *space.shape), np.float32), np.empty((steps, *actions.shape), np.float32),
            np.empty(steps, np.float32), np.empty((steps, *space.shape), np.float32),
            np.empty(steps, bool), np.empty(0, int), environment=dataset.spec.env_spec,
        )  # fmt: skip
        starts, first = [], 0
        for observations, actions, rewards, terminations in _episodes(dataset, path):
            rows = slice(first, first + len(rewards))
            log.observation[rows], log.next_observation[rows] = observations[:-1], observations[1:]
            log.action[rows], log.reward[rows], log.terminated[rows] = actions, rewards, terminations
            starts.append(first)
            first = rows.stop
        if first != steps:
            raise InputError(f"dataset {name!r}: {first} steps found, {steps} announced")
        log.start = np.array(starts)
        return log
    except InputError:
        raise
    except Exception as error:  # whatever the storage layer makes of a damaged file
        raise InputError(f"dataset {name!r} cannot be read: {_reason(error)}") from error


def _episodes(dataset: Any, path: Path) -> Iterator[tuple[np.ndarray, ...]]:
    """Observations, actions, rewards and terminations of each episode.

    HDF5 is read below Minari's `iterate_episodes`, which takes four times as long where episodes are short (a million
    steps in 4000 episodes: 14 s and 3.5 s on a busy core).
    """
    import h5py

    columns = {"observations": np.float32, "actions": np.float32, "rewards": np.float32, "terminations": np.bool_}
    if not (path / "main_data.hdf5").is_file():  # Minari's other storage
        for episode in dataset.iterate_episodes():
            yield tuple(np.asarray(getattr(episode, key)) for key in columns)
        return
    with h5py.File(path / "main_data.hdf5", "r") as file:
        for index in dataset.episode_indices:
            parts = []
            for key, kind in columns.items():
                node = h5py.h5d.open(file.id, f"episode_{index}/{key}".encode())
                parts.append(np.empty(node.shape, kind))
                node.read(h5py.h5s.ALL, h5py.h5s.ALL, parts[-1])
            yield tuple(parts)


def read_d4rl(path: Path) -> Log:
    """A D4RL file: the arrays of `from_arrays` under their names. Raises InputError naming the key or the damage."""
    import h5py

    if not path.is_file():
        near = sorted(str(p) for p in path.parent.glob("*.h*5")) if path.parent.is_dir() else []
        raise InputError(f"no file {str(path)!r}{nearest(str(path), near)}")
    arrays: dict[str, Any] = {}
    try:
        with h5py.File(path, "r") as file:
            keys = list(file)
            if missing := [key for key in KEYS if not isinstance(file.get(key), h5py.Dataset)]:
                if missing[0] in keys:
                    raise InputError(f"{path}: {missing[0]!r} is a group of arrays, not one array")
                hint = "; it is Minari's storage: name the dataset's folder" if "episode_0" in keys else ""
                found = ", ".join(keys[:12]) + (", ..." if len(keys) > 12 else "")
                raise InputError(
                    f"{path} has no {missing[0]!r}{nearest(missing[0], keys)}; a D4RL file has {', '.join(KEYS)}"
                    f" and perhaps next_observations; this one has {found or 'nothing'}{hint}"
                )
            for key in (*KEYS, "next_observations"):
                if key in keys:
                    node: Any = file[key]
                    arrays[key] = node.astype(np.float32)[()] if node.dtype.kind == "f" else node[()]
    except (OSError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read: {_reason(error)}") from error
    try:
        return from_arrays(**arrays)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
