"""Minari's datasets: by id, downloaded when absent, or by folder."""

import math
import os
from collections.abc import Iterator, Sequence
from os.path import isdir
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from ramac.data import Log
from ramac.data.columns import narrow
from ramac.data.hdf5 import opened, refuse_elsewhere, refuse_outside
from ramac.data.kinds import ID
from ramac.data.large import empty
from ramac.data.limits import refuse_larger
from ramac.data.sources import Source
from ramac.data.spaces import CHOICES, IMAGES, NESTED, Parts, is_image, is_vector, outermost
from ramac.data.storage import datasets_root, exists, place, reason, staged
from ramac.errors import InputError, nearest
from ramac.registry import sources
from ramac.system.paths import regular
from ramac.system.untrusted import LONG_JSON_BYTES, read_json
from ramac.text import say

COLUMNS = {"observations": None, "actions": np.float32, "rewards": np.float64, "terminations": np.bool_}


@sources.register("minari")
class Minari(Source):
    """A Minari dataset: its id, downloaded when it is not on disk, or its folder.

    Paper: Younis et al. 2024, Minari.

    Args:
        columns: `observations` of dictionaries or tuples: chosen parts and their order; null: all.
    """

    def __init__(self, *, columns: dict[str, Any] | None = None) -> None:
        for key in columns or {}:
            if key != "observations":
                raise ValueError(
                    f"columns.{key}: a Minari dataset has its own {key}; columns.observations chooses parts"
                )
        named = (columns or {}).get("observations")
        self.parts = [str(named)] if isinstance(named, str | int) else named

    def load(self, place: str) -> Log:
        folder = Path(place).expanduser() / "data"
        path = folder if isdir(folder) else download(place)
        try:
            return read(path, place, self.parts)
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
        say(f"{dataset_id} is not on disk: asking Minari's server for it", error=True)
        try:
            from huggingface_hub.utils import logging

            logging.set_verbosity_error()  # it prints two lines per retry; ours names the last error
            with staged(dataset_id) as part, datasets_root(part):
                minari.download_dataset(dataset_id)
        except Exception as error:  # no network, no such dataset, a full disk: each library has errors of its own
            known = [name for name, about in on_disk() if isinstance(about, dict)]
            raise InputError(
                f"no dataset {dataset_id!r} on disk, and it cannot be downloaded ({reason(error)});"
                f" on disk: {', '.join(known) or 'none'}{nearest(dataset_id, known)}; where there is a network:"
                f" minari download {dataset_id}"
            ) from error
    return place(dataset_id) / "data"


def on_disk() -> Iterator[tuple[str, dict[str, Any] | InputError]]:
    """Each Minari dataset's id, and what it says of itself, or why it cannot be read. Minari's own list opens pipes."""
    root, seen = place(), set()
    for folder, names, _ in os.walk(root, followlinks=True):
        names[:] = sorted(name for name in names if not name.startswith("."))
        name, real = Path(folder).relative_to(root).as_posix(), os.path.realpath(folder)
        if real in seen:  # links can go round
            names.clear()
        elif "data" in names and name != ".":
            names.clear()
            try:
                if not ID.fullmatch(name):
                    raise InputError(f"{name!r} is no id of a Minari dataset")
                yield name, description(Path(folder) / "data")
            except InputError as error:
                yield name, error
        seen.add(real)


def description(path: Path) -> dict[str, Any]:
    """Metadata of the dataset in this folder, in which nothing makes Minari wait or run code. Raises InputError."""
    for file in path.rglob("*"):
        if file.is_symlink() or not file.is_dir():
            regular(file)
    about = read_json(path / "metadata.json", most=LONG_JSON_BYTES)
    stored = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    for key in ("total_steps", "total_episodes"):  # Minari makes an array of as many numbers
        if isinstance(count := about.get(key), int | float):
            refuse_larger(int(min(count, 1e18)) * 8, stored)
    for key in ("observation_space", "action_space"):
        if not isinstance(about.get(key), str):  # every version since 0.5.0 writes them
            raise InputError(
                f"metadata.json has no {key}, and Minari would run the code that it names to find one; write the"
                " dataset again by minari.create_dataset_from_buffers"
            )
    return about


def read(path: Path, name: str, chosen: Sequence[str] | None = None) -> Log:
    """Every episode of a Minari dataset; `chosen`: parts of its nested observations. Raises InputError."""
    import minari

    try:
        description(path)
    except InputError as error:
        raise InputError(f"dataset {name!r} cannot be read: {error}") from error
    dataset = minari.MinariDataset(path)
    steps = int(dataset.total_steps)
    parts = parts_of(dataset.observation_space, name, chosen)
    width = len(parts.coordinates) if parts else dataset.observation_space.shape[0]
    refuse_actions(dataset.action_space, name)
    if not steps:
        raise InputError(f"dataset {name!r} has no steps")
    action, ended, starts, first = (
        np.empty((steps, *dataset.action_space.shape), np.float32),
        np.empty(steps, bool),
        [],
        0,
    )
    before, after, reward = np.empty(0), np.empty(0), np.empty(steps)
    for episode in _episodes(dataset, path, parts):
        refuse_shapes(episode, width, action.shape[-1], f"dataset {name!r}: episode {len(starts)}")
        observations, actions, rewards, terminated = episode
        if not starts:
            kind = np.float32 if observations.dtype == np.float32 else np.float64  # `narrow` looks at the values
            before, after = (empty((steps, observations.shape[1]), kind) for _ in range(2))
        rows = slice(first, first + len(rewards))
        before[rows], after[rows] = observations[:-1], observations[1:]
        action[rows], reward[rows], ended[rows] = actions, rewards, terminated
        starts.append(first)
        first = rows.stop
    if first != steps:
        raise InputError(f"dataset {name!r}: {first} steps found, {steps} announced")
    (before, after), (reward,) = narrow(before, after), narrow(reward)
    named = {} if parts is None else {"parts": parts.names, "names": parts.coordinates}
    judge = dataset._eval_env_spec  # Minari has no public name for it
    found = {"environment": dataset.env_spec, "evaluation_environment": judge, **named}
    return Log(before, action, reward, after, ended, np.array(starts), **found)


def refuse_shapes(episode: tuple[np.ndarray, ...], observation: int, action: int, name: str) -> None:
    """Refuse an episode whose arrays do not have one row per step: NumPy would repeat what is missing.

    `observation`, `action`: how many numbers each has. Raises InputError.
    """
    steps = len(np.atleast_1d(episode[2]))
    shapes = (steps + 1, observation), (steps, action), (steps,), (steps,)
    for key, array, shape in zip(COLUMNS, episode, shapes, strict=True):
        if array.shape != shape:
            raise InputError(f"{name} has {steps} rewards and {key} of shape {array.shape}, not {shape}")


def parts_of(space: Any, name: str, chosen: Sequence[str] | None) -> Parts | None:
    """The chosen parts of nested observations, None for plain vectors. Raises InputError."""
    if not isinstance(space, NESTED):
        if chosen is not None:
            raise InputError(f"dataset {name!r}: observations are {space}, which has no parts to choose")
        if not is_vector(space):
            hint = IMAGES if is_image(space) else "they must be vectors of numbers"
            raise InputError(f"dataset {name!r}: observations are {space}; {hint}")
        return None
    if chosen is None:
        names = outermost(space)
        text = f"dataset {name!r}: observations have the parts {', '.join(names)}, not one vector"
        raise InputError(f"{text}; data.columns.observations=[{','.join(names)}] joins them in this order")
    try:
        return Parts(space, chosen)
    except InputError as error:
        raise InputError(f"dataset {name!r}: {error}") from error


def refuse_actions(space: Any, name: str) -> None:
    """Refuse actions that are not vectors of real numbers. Raises InputError."""
    if not is_vector(space) or space.dtype.kind != "f":
        hint = "they must be vectors of real numbers" if isinstance(space, Box) and space.dtype.kind == "f" else CHOICES
        raise InputError(f"dataset {name!r}: actions are {space}; {hint}")


def _episodes(dataset: Any, path: Path, parts: Parts | None) -> Iterator[tuple[np.ndarray, ...]]:
    """Observations, of nested ones these parts, actions, rewards and terminations of each episode.

    HDF5 is read below Minari's `iterate_episodes`, which takes four times as long where episodes are short (a million
    steps in 4000 episodes: 14 s and 3.5 s on a busy core).
    """
    import h5py

    main = path / "main_data.hdf5"
    if main.is_file() and parts is not None:  # nested: read by Minari
        refuse_outside(main)
    if parts is not None or not main.is_file():  # nested, or Minari's other storage
        for episode in dataset.iterate_episodes():
            observations = np.asarray(episode.observations) if parts is None else parts.flatten(episode.observations)
            yield observations, *(np.asarray(getattr(episode, key)) for key in list(COLUMNS)[1:])
        return
    with opened(main) as file:
        for index in dataset.episode_indices:
            arrays = []
            for key, kind in COLUMNS.items():
                name = f"episode_{index}/{key}"
                node = h5py.h5d.open(file.id, name.encode())
                refuse_elsewhere(name, node)
                refuse_larger(math.prod(node.shape) * node.dtype.itemsize, main.stat().st_size)
                arrays.append(np.empty(node.shape, kind or node.dtype))
                node.read(h5py.h5s.ALL, h5py.h5s.ALL, arrays[-1])
            yield tuple(arrays)
