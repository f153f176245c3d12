"""Write a Log as a Minari dataset, which reads back as the same Log, bit for bit."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box
from minari import create_dataset_from_buffers
from minari.data_collector import EpisodeBuffer

from ramac.data import Log
from ramac.data.check import errors, misfits
from ramac.data.kinds import ID
from ramac.data.large import per_row
from ramac.data.storage import datasets_root, exists, place, staged
from ramac.environments import made
from ramac.errors import InputError
from ramac.text import say

COLUMNS = ("observation", "action", "reward", "next_observation")


def refuse_id(dataset_id: str) -> None:
    """Refuse an id that is none, or that is taken. Raises InputError."""
    if not ID.fullmatch(dataset_id):
        raise InputError(
            f"{dataset_id!r} is no id of a Minari dataset; write NAME-vNUMBER, such as 'mine/logs-v0';"
            " before a slash are at least two letters"
        )
    if exists(dataset_id):
        raise InputError(f"{dataset_id} exists already: {place(dataset_id)}; name another id")


def refuse_gaps(log: Log) -> None:
    """Refuse steps that are not followed by their next observation: an episode of Minari has each one once."""
    both = log.next_observation[:-1], log.observation[1:]
    same = per_row(lambda after, follow: (after == follow).all(-1), *both)
    same[log.stop[:-1] - 1] = True  # another episode follows
    if not same.all():
        row = same.argmin()
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


def as_json(spec: EnvSpec) -> str:
    """An environment's name and arguments as a dataset stores them. Raises InputError."""
    try:
        return spec.to_json()
    except (TypeError, ValueError) as error:  # arguments, or an entry point, that are no plain data
        raise InputError(f"{spec.id} cannot be named in a dataset: {error}") from error


def named(log: Log, dataset_id: str) -> dict[str, str]:
    """Environments that the log names, as a dataset's metadata. Raises InputError.

    None where parts of nested observations were chosen: a dataset of vectors does not say in which order they are.
    """
    if log.parts and log.judge:
        parts = ", ".join(log.parts[:8]) + ", ..." * (len(log.parts) > 8)
        text = f"{dataset_id} does not name {log.judge.id}: it cannot say that observations are the parts {parts}"
        say(f"{text}, in this order", error=True)
        return {}
    specs = {"env_spec": log.environment, "eval_env_spec": log.evaluation_environment}
    return {key: as_json(spec) for key, spec in specs.items() if spec}


def convert(log: Log, dataset_id: str, origin: str, environment: str | None = None) -> Path:
    """Write the log under `dataset_id`, atomically; returns its folder.

    Spaces are those of `environment`, else of the data: any observation, actions between the least and the greatest.
    Environments are stored by name: Minari would make those that it is given, with whatever code the log names.
    Raises InputError.
    """
    refuse_id(dataset_id)
    anything = np.full(log.action.shape[1], np.inf)
    for finding in errors(log, -anything, anything):
        raise InputError(f"{origin}: {finding.text}")
    refuse_gaps(log)
    kind: Any = log.observation.dtype
    about: dict[str, Any] = {
        "observation_space": Box(-np.inf, np.inf, log.observation.shape[1:], kind),
        "action_space": Box(log.action.min(0), log.action.max(0), dtype=np.float32),
        "description": f"converted from {origin}",
    }
    about |= dict.fromkeys(("algorithm_name", "author", "author_email", "code_permalink"), "unknown")
    if environment is None:
        names = named(log, dataset_id)
    else:
        with made(environment) as env:
            assert env.spec
            for text in misfits(log, env):
                raise InputError(f"this dataset {text}")
            about["action_space"], names = env.action_space, {"env_spec": as_json(env.spec)}
    needed = 2 * sum(log.columns[name].nbytes for name in COLUMNS)
    with staged(dataset_id, needed) as part:
        refuse_id(dataset_id)  # another process may have made it meanwhile
        buffers: Any = episodes(log)  # Minari asks for a list, and takes any iterable: memory stays flat
        with datasets_root(part), warnings.catch_warnings(action="ignore"):  # that it got no environment
            create_dataset_from_buffers(dataset_id, buffers, **about).storage.update_metadata(names)
    return place(dataset_id)
