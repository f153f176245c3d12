"""Flat arrays of steps to a Log: where episodes end, the order of steps, and the next observations."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ramac.data import Log, roles
from ramac.data.columns import narrow
from ramac.data.large import cast, take
from ramac.data.spaces import CHOICES
from ramac.errors import InputError


def from_arrays(
    observations: Any, actions: Any, rewards: Any, terminals: Any, timeouts: Any = None, next_observations: Any = None,
    *, episode: Any = None, step: Any = None, propensities: Any = None,
) -> Log:  # fmt: skip
    """Steps in order, in the keys of D4RL: observations [T, O], actions [T, A], rewards, terminals and timeouts [T].

    Terminals end an episode (no bootstrap), timeouts truncate one (bootstrap); a step with both is terminal. A change
    of `episode` ids [T] ends one too, and so does the last step. Rows out of the order of `step` [T] are sorted within
    their episode. Missing next observations are taken from the following step. The last step of a cut episode then has
    none and is left out, as in d4rl's `qlearning_dataset`; a terminal step keeps its own observation there: it never
    bootstraps. `propensities` [T]: the behaviour's density of the logged action. Raises InputError that names the array
    which does not fit.
    """
    given = {"observations": observations, "actions": actions, "rewards": rewards}
    given |= {"terminals": terminals, "timeouts": timeouts, "next_observations": next_observations}
    return log_of({**given, "episode": episode, "step": step, "propensities": propensities})


def log_of_columns(
    names: Iterable[str], read: roles.Read, columns: Mapping[str, Any] | None, origin: str = "",
    *, single: bool = False, needed: Iterable[str] = roles.NEEDED,
) -> Log:  # fmt: skip
    """The Log of named columns; only those that have a role are read. Raises InputError."""
    found = roles.find(names, columns, needed)
    arrays = with_last_observation(roles.gather(found, read, single, columns))
    roles.tell_undecided(found, arrays, columns, origin)
    return log_of(arrays, origin)


def with_last_observation(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of one episode with next observations, where the observations [T + 1, O] hold the last one too.

    Raises InputError for a single step without a time axis, and where the episode ends before its last step.
    """
    for role, array in arrays.items():
        if not array.ndim:
            raise InputError(f"{role} must have one row per step, got one value; a single step is no episode")
    if len(arrays["observations"]) != len(arrays["rewards"]) + 1 or "next_observations" in arrays:
        return arrays
    ends = [np.asarray(arrays[role])[:-1].any() for role in roles.ENDS if role in arrays]
    if any(ends) or ("episode" in arrays and numbered(arrays["episode"]).any()):
        raise InputError("observations have one row more than rewards, which only whole episodes can have")
    whole = arrays["observations"]
    return {**arrays, "observations": whole[:-1], "next_observations": whole[1:]}


def log_of(given: Mapping[str, Any], origin: str = "") -> Log:
    """The Log of arrays by role, None where there is none; `origin` begins each line about them. Raises InputError."""
    arrays = {key: _array(key, value) for key, value in given.items() if value is not None}
    count = len(arrays["observations"])
    if "terminals" not in arrays:
        roles.said(f"{origin}no terminals: no step is terminal, every episode is cut")
        arrays["terminals"] = np.zeros(count, bool)
    for key, array in arrays.items():
        if len(array) != count or not count:
            raise InputError(f"{key} have {len(array)} steps, observations {count}; all need the same, at least 1")
    refuse_no_densities(arrays.get("propensities"))
    after = arrays.get("next_observations")
    if after is not None and (shape := list(after.shape)) != (wanted := list(arrays["observations"].shape)):
        raise InputError(f"next_observations have shape {shape}, observations {wanted}")
    if given.get("timeouts") is None:
        ids = " and changes of the episode id" if "episode" in arrays else ""
        roles.said(f"{origin}no timeouts: only terminals{ids} end an episode, and the last step cuts the last one")
        arrays["timeouts"] = np.zeros(count, bool)
    changed, order = _order(arrays.pop("episode", None), arrays.pop("step", None), arrays, origin)
    if order is not None:
        arrays = {key: take(array, order) for key, array in arrays.items()}
    observation, *rest = narrow(arrays["observations"], *([] if after is None else [arrays["next_observations"]]))
    (reward,), terminated = narrow(arrays["rewards"]), arrays["terminals"]
    action = arrays["actions"].astype(np.float32, copy=False)
    end, propensity = terminated | arrays["timeouts"] | changed, arrays.get("propensities")
    if rest:
        start = np.flatnonzero(np.append(True, end[:-1]))
        return Log(observation, action, reward, rest[0], terminated, start, propensity=propensity)
    cut = end & ~terminated
    cut[-1] = not terminated[-1]
    if cut.all():
        raise InputError("no step has a next observation: every step is a timeout and next_observations are missing")
    kept = np.flatnonzero(~cut)
    after = take(observation, kept + ~terminated[kept])
    episode = (np.cumsum(end) - end)[kept]
    start = np.flatnonzero(np.diff(episode, prepend=-1))
    observation, action, reward, terminated = (take(part, kept) for part in (observation, action, reward, terminated))
    propensity = None if propensity is None else take(propensity, kept)
    return Log(observation, action, reward, after, terminated, start, propensity=propensity)


def refuse_no_densities(propensity: np.ndarray | None) -> None:
    """Refuse propensities [T] that no logged action can have. Raises InputError."""
    if propensity is not None and (wrong := ~((propensity > 0) & np.isfinite(propensity))).any():
        row = int(wrong.argmax())
        raise InputError(
            f"propensities must be finite and above 0, got {propensity[row]:g} at row {row};"
            " data.columns.propensities=null leaves them out"
        )


def _order(
    ids: np.ndarray | None, step: np.ndarray | None, arrays: Mapping[str, np.ndarray], origin: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Whether the episode id changes after each step [T], and the order of rows where it is not the given one.

    Raises InputError where an order is needed and cannot be known.
    """
    count, order = len(arrays["terminals"]), None
    if ids is None:
        episode = np.append(0, np.cumsum(arrays["terminals"] | arrays["timeouts"])[:-1])
    else:
        episode = ids
        pieces = np.count_nonzero(np.diff(ids)) + 1
        if pieces > ids.max() + 1 and step is None:
            seen = np.flatnonzero(np.append(True, np.diff(ids) != 0))
            _, first = np.unique(ids[seen], return_index=True)
            row = np.delete(seen, first)[0]
            raise InputError(
                f"an episode comes back at row {row} after others; sort the rows by episode, or name a column of steps:"
                " data.columns.step=NAME"
            )
    key = np.zeros(count) if step is None else step
    if ((np.diff(episode) == 0) & (np.diff(key) < 0)).any() or (np.diff(episode) < 0).any():
        if ids is None:
            row = int(np.flatnonzero((np.diff(episode) == 0) & (np.diff(key) < 0))[0]) + 1
            raise InputError(
                f"the column of steps falls inside an episode, at row {row}: sort the rows, name a column of timeouts"
                " or of episode ids, or leave the column out: data.columns.step=null"
            )
        order = np.lexsort((key, episode))  # stable
        episode, key = episode[order], key[order]
        again = np.flatnonzero((np.diff(episode) == 0) & (np.diff(key) == 0))
        if len(again):
            first, second = order[again[0]], order[again[0] + 1]
            raise InputError(f"rows {first} and {second} have the same episode and step")
        roles.said(f"{origin}rows are sorted by episode and step")
    changed = np.append(np.diff(episode) != 0, False) if ids is not None else np.zeros(count, bool)
    return changed, order


def numbered(value: Any) -> np.ndarray:
    """Numbers 0, 1, ... for ids of any kind, in the order of their first appearance: [T]."""
    from pandas import factorize  # half a second, which arrays without ids need not wait for

    try:
        codes = factorize(np.asarray(value).reshape(len(value), -1)[:, 0])[0]
    except (TypeError, ValueError, IndexError) as error:
        raise InputError(f"episode cannot be used: {error}") from error
    if (codes < 0).any():
        raise InputError(f"episode has no value at row {np.argmin(codes)}")
    return codes


def _moments(value: Any) -> np.ndarray:
    """Positions of rows in time: numbers, or ISO times. [T]."""
    plain = np.asarray(value)
    if plain.dtype.kind in "OUTM":
        from pandas import to_datetime

        try:
            plain = np.asarray(to_datetime(plain.astype("U") if plain.dtype.kind != "M" else plain, format="ISO8601"))
        except (TypeError, ValueError) as error:
            raise InputError(
                "the column of steps has neither numbers nor ISO times; data.columns.step=null leaves it out"
            ) from error
        plain = plain.astype("M8[ns]")
        bad, plain = np.isnat(plain), plain.astype(np.int64)
    else:
        bad = ~np.isfinite(plain)
    if bad.any():
        raise InputError(f"step has no value at row {np.argmax(bad)}")
    return plain


def _array(key: str, value: Any) -> np.ndarray:
    flag, wide = key in roles.ENDS, key in roles.WIDE
    if key == "episode":
        return numbered(value)
    try:
        plain = _moments(value) if key == "step" else np.asarray(value)
        if plain.dtype.kind not in "fiub":
            raise ValueError(f"numbers are needed, got {plain.dtype}")
        if key == "actions" and plain.dtype.kind in "iub" and plain.ndim and plain.size == len(plain):
            raise ValueError(
                f"{list(plain.shape)} {plain.dtype} are choices, and {CHOICES}; store amounts as floats (1.0)"
            )
        if flag and not np.isin(plain, (0, 1)).all():
            raise ValueError("only 0 and 1 are flags")
        kind = bool if flag else np.float32 if plain.dtype == np.float32 else np.float64
        array = np.ascontiguousarray(cast(plain, kind))
    except (TypeError, ValueError, RuntimeError) as error:
        raise error if isinstance(error, InputError) else InputError(f"{key} cannot be used: {error}") from error
    if not wide and array.shape[1:] == (1,):
        return array[:, 0]  # some files keep a column
    if array.ndim != 1 + wide:
        raise InputError(f"{key} must have shape {'[T, n]' if wide else '[T]'}, got {list(array.shape)}")
    return array
