"""Checks of logged data, one line per finding."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from ramac.data import Log
from ramac.data.columns import HELD, magnitude, mean_and_std
from ramac.data.large import per_row
from ramac.data.spaces import CHOICES, is_vector
from ramac.errors import InputError

MOST = 3e38  # a bound beyond it is none: float32 ends there


class Finding(NamedTuple):
    """One line of a check. Data with an `error` cannot be learned from; a `warning` deserves a look."""

    level: Literal["ok", "warning", "error"]
    text: str


def errors(log: Log, low: np.ndarray, high: np.ndarray) -> Iterator[Finding]:
    """Non-finite values, and actions outside the box [low, high], each [A]."""
    for part in ("observation", "action", "reward", "next_observation"):
        values = getattr(log, part)
        bad = per_row(lambda rows: ~np.isfinite(rows.reshape(len(rows), -1)).all(axis=1), values)
        if bad.any():
            count = f"{bad.sum()} of {len(values)} steps, first at step {bad.argmax()}"
            yield Finding("error", f"{part} is nan or infinite in {count}")
    lowest, highest = (np.asarray(bound, np.float64) for bound in (low, high))
    largest = np.maximum(*(np.where(np.isfinite(bound), np.abs(bound), 0) for bound in (lowest, highest)))
    slack = 1e-5 + np.finfo(np.float32).eps * largest  # a rounded bound
    beyond = (log.action < lowest - slack) | (log.action > highest + slack)
    if (outside := beyond.any(-1)).any():
        first = outside.argmax()
        at = beyond[first].argmax()
        text = f"actions outside the box [{low[at]:g}, {high[at]:g}] in {outside.sum()} of {len(log.action)} steps,"
        yield Finding("error", f"{text} first at step {first}: {log.action[first].tolist()}")


def findings(log: Log, low: np.ndarray, high: np.ndarray) -> Iterator[Finding]:
    """All findings about a log whose actions belong in the box [low, high], each [A]."""
    steps, episodes = len(log.reward), len(log.start)
    sizes = f"{log.observation.shape[1]} numbers per observation, {log.action.shape[1]} per action"
    yield Finding("ok", f"{steps} steps in {episodes} episodes; {sizes}")
    if log.names:
        yield Finding("ok", f"the numbers of an observation are {shortened(log.names)}")
    fine = Finding("ok", f"all numbers finite, all actions inside [{low.min():g}, {high.max():g}]")
    yield from list(errors(log, low, high)) or [fine]
    yield from _ends(log)
    if again := repeated(log):
        yield Finding("warning", f"{again} steps ({again / steps:.1%}) repeat the observation and action of another")
    else:
        yield Finding("ok", "no step repeats another's observation and action")
    for part in ("observation", "action"):
        if constant := np.flatnonzero(np.ptp(getattr(log, part), axis=0) == 0).tolist():
            yield Finding("warning", f"{part} never varies in coordinates {constant}")
    yield from _coarse(log)
    if np.ptp(log.reward) == 0:
        yield Finding("warning", f"every reward is {log.reward[0]:g}")
    if (longest := log.lengths.max()) > 10 * (median := np.median(log.lengths)):
        yield Finding("warning", f"the longest episode has {longest} steps, the median {median:g}: a missing end?")


def shortened(names: Sequence[str], most: int = 24) -> str:
    """A list of names for readers."""
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")


def _coarse(log: Log) -> Iterator[Finding]:
    """Columns that vary by less than a thousand steps of their type, and whose values lie single steps apart."""
    for part, table in (("observation {}", log.observation), ("reward", log.reward[:, None])):
        size = magnitude(table)
        with np.errstate(invalid="ignore"):  # infinite numbers
            width, deviation = np.ptp(table, 0), mean_and_std(table)[1]
        step = np.finfo(table.dtype).eps / 2 * size  # or up to twice that
        for i in np.flatnonzero(np.isfinite(size) & (width > 0) & (step > 2 * HELD * deviation)):
            values = np.unique(table[:, i])
            if (apart := np.diff(values.astype(np.float64)).min()) <= 2 * step[i]:
                text = f"{part.format(i)} has only {len(values)} distinct values, {apart:g} apart, as {table.dtype}"
                yield Finding("warning", f"{text} rounds at {size[i]:g}: subtract an offset before they are stored")


def _ends(log: Log) -> Iterator[Finding]:
    steps, episodes, last = len(log.reward), len(log.start), log.stop - 1
    rows = np.delete(np.arange(steps), last)  # steps with a successor in their episode
    if len(early := rows[log.terminated[rows]]):
        text = f"{len(early)} steps are terminal and have a successor in their episode, first at step {early[0]}"
        yield Finding("error", text)
    ended = int(log.terminated[last].sum())
    yield Finding("ok", f"{ended} episodes end in a terminal state, {episodes - ended} are cut and bootstrap")
    if episodes == 1 and steps > 1:
        yield Finding("warning", "one episode only: are terminals and timeouts set?")
    both = log.next_observation[:-1], log.observation[1:]
    jump = rows[per_row(lambda after, follow: (np.abs(after - follow) > 1e-4).any(-1), *both)[rows]]
    if len(jump):
        text = f"{len(jump)} steps are not followed by their next observation, first at step {jump[0]}"
        yield Finding("error", f"{text}: a missing timeout?")
    else:
        yield Finding("ok", "each next observation is the following step's observation")


def repeated(log: Log) -> int:
    """Number of steps that have an earlier step's observation and action, found by 64-bit hashes."""
    from pandas import DataFrame, Series
    from pandas.util import hash_pandas_object

    def hashes(*parts: np.ndarray) -> np.ndarray:
        rows = DataFrame(np.hstack(parts) + np.float32(0))  # + 0 turns -0 into 0
        return hash_pandas_object(rows, index=False).to_numpy()

    return int(Series(per_row(hashes, log.observation, log.action)).duplicated().sum())


def misfits(log: Log, env: gymnasium.Env) -> Iterator[str]:
    """Reasons why these data do not fit `env`; each continues the words "dataset NAME"."""
    box, environment = env.action_space, env.spec.id if env.spec else str(env)
    if not is_vector(box) or box.dtype.kind != "f":  # type: ignore[union-attr]
        real = isinstance(box, Box) and np.dtype(box.dtype).kind == "f"
        hint = "wrap it so that they are one vector" if real else CHOICES
        yield f"cannot be used in {environment}: its actions are {box}, not vectors of real numbers; {hint}"
        return
    named = [spec for spec in (log.environment, log.evaluation_environment) if spec]
    ours = any(spec.id in gymnasium.envs.registry for spec in named)  # otherwise another one must judge
    if ours and env.spec and env.spec.name not in [spec.name for spec in named]:
        yield f"was collected in {named[0].id}, not in {environment}"
    for part, shape in (("observation", env.observation_space.shape), ("action", box.shape)):
        found = getattr(log, part).shape[1:]
        if found != shape:
            yield f"does not fit {environment}: {part}s have shape {found}, not {shape}"


def refuse(log: Log, name: str, env: gymnasium.Env) -> None:
    """Refuse data that do not fit `env` or cannot be learned from. Raises InputError naming the first finding."""
    for text in misfits(log, env):
        raise InputError(f"dataset {name!r} {text}")
    box = env.action_space
    assert isinstance(box, Box)
    for finding in errors(log, box.low, box.high):
        raise InputError(f"dataset {name!r}: {finding.text}")


def bounded(log: Log, box: Box, low: float | None = None, high: float | None = None) -> Box:
    """The box of actions, with a finite bound where it has none: `low` or `high`, or the logged actions' own.

    Raises InputError where a coordinate is left without width.
    """
    is_open = [~(np.abs(bound) < MOST) for bound in (box.low, box.high)]
    if not np.any(is_open):
        return box
    own = (log.action.min(0) if low is None else low), (log.action.max(0) if high is None else high)
    least, most = (np.where(o, b, a) for o, a, b in zip(is_open, (box.low, box.high), own, strict=True))
    for first in np.flatnonzero(least >= most)[:1]:
        raise InputError(
            f"action coordinate {first} would be bounded by {least[first]:g} and {most[first]:g};"
            " set task.low and task.high to the actions' true bounds"
        )
    return Box(least.astype(np.float32), most.astype(np.float32), dtype=np.float32)
