"""Write a Log as a Minari dataset, which reads back as the same Log, bit for bit."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from minari import create_dataset_from_buffers
from minari.data_collector import EpisodeBuffer

from ramac.data import Log
from ramac.data.check import misfits
from ramac.data.kinds import ID
from ramac.data.storage import datasets_root, exists, place, staged
from ramac.environments import make
from ramac.errors import InputError

COLUMNS = ("observation", "action", "reward", "next_observation")


def refuse_id(dataset_id: str) -> None:
    """Refuse an id that is none, or that is taken. Raises InputError."""
    if not ID.fullmatch(dataset_id):
        raise InputError(f"{dataset_id!r} is no id of a Minari dataset; write NAME-vNUMBER, such as 'mine/logs-v0'")
    if exists(dataset_id):
        raise InputError(f"{dataset_id} exists already: {place(dataset_id)}; name another id")


def refuse_gaps(log: Log) -> None:
    """Refuse steps that are not followed by their next observation: an episode of Minari has each one once."""
    after = np.delete(np.arange(len(log.reward)), log.stop - 1)
    same = (log.next_observation[after] == log.observation[after + 1]) | np.isnan(log.next_observation[after])
    if not same.all():
        row = after[same.all(-1).argmin()]
        raise InputError(
            f"step {row} is not followed by its next observation, which a Minari dataset cannot hold; is a timeout"
            " missing? ramac data check finds all such steps"
        )


def episodes(log: Log) -> Iterator[EpisodeBuffer]:
    """The episodes as Minari's buffers; the last step of each is terminal or truncated."""
    for begin, end in zip(log.start, log.stop, strict=True):
        rows = slice(begin, end)
        observations = np.concatenate([log.observation[rows], log.next_observation[end - 1 : end]])
        ended = log.terminated[rows]
        cut = (np.arange(begin, end) == end - 1) & ~ended
        parts: list[Any] = [observations, log.action[rows], log.reward[rows], ended, cut]
        yield EpisodeBuffer(None, None, None, *parts)


def convert(log: Log, dataset_id: str, origin: str, environment: str | None = None) -> Path:
    """Write the log under `dataset_id`, atomically; returns its folder.

    Spaces are those of `environment`, else of the data: any observation, actions between the least and the greatest.
    Raises InputError.
    """
    refuse_id(dataset_id)
    refuse_gaps(log)
    kind: Any = log.observation.dtype
    about: dict[str, Any] = {
        "observation_space": Box(-np.inf, np.inf, log.observation.shape[1:], kind),
        "action_space": Box(log.action.min(0), log.action.max(0), dtype=np.float32),
        "description": f"converted from {origin}",
    }
    about |= dict.fromkeys(("algorithm_name", "author", "author_email", "code_permalink"), "unknown")
    if environment is not None:
        env = make(environment)
        for text in misfits(log, env):
            raise InputError(f"this dataset {text}")
        about |= {"env": env.spec, "action_space": env.action_space}
    elif log.environment is not None:
        about["env"] = log.environment
    needed = 2 * sum(log.columns[name].nbytes for name in COLUMNS)
    with staged(dataset_id, needed) as part:
        refuse_id(dataset_id)  # another process may have made it meanwhile
        buffers: Any = episodes(log)  # Minari asks for a list, and takes any iterable: memory stays flat
        with datasets_root(part):
            create_dataset_from_buffers(dataset_id, buffers, **about)
    return place(dataset_id)
