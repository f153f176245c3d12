"""The roles of columns (observations, actions, ...): the names that they usually have, and names given by `columns`."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ramac.errors import InputError, nearest
from ramac.text import say, shortened

# D4RL's key first, then the names of Gymnasium, Minari, d3rlpy and LeRobot; the first one that is there is taken
USUAL: dict[str, tuple[str, ...]] = {
    "observations": ("observations", "observation", "obs", "states", "state", "observation.state"),
    "actions": ("actions", "action"),
    "rewards": ("rewards", "reward", "next.reward"),
    "terminals": (
        *("terminals", "terminal", "terminated", "terminations", "next.terminated"),
        *("done", "dones", "next.done", "next.success"),
    ),
    "timeouts": ("timeouts", "timeout", "truncated", "truncations", "next.truncated"),
    "next_observations": ("next_observations", "next_observation", "next_obs", "next_states", "next_state"),
    "episode": ("episode", "episode_id", "episode_index"),
    "step": ("step", "timestep", "frame_index", "timestamp", "time"),
    "propensities": ("propensities", "propensity", "pscore"),  # the last is that of the Open Bandit Pipeline
}
NEEDED = ("observations", "actions", "rewards")
WIDE = ("observations", "actions", "next_observations")  # [T, n], the others [T]
ENDS = ("terminals", "timeouts")
UNDECIDED = ("done", "dones", "next.done")  # true at the end of an episode, whatever ended it
Found = dict[str, list[str]]  # role -> names of its columns, in order
Read = Callable[[list[str]], Mapping[str, Any]]  # reads these columns, and no others


def said(text: str) -> None:
    """Tell the user how data were understood: one line on standard error."""
    say(f"ramac: {text}", error=True)


def checked(columns: Any) -> dict[str, list[str] | None]:
    """Names of columns by role; None for a role that no column has. Raises InputError."""
    if columns is None:
        return {}
    if not isinstance(columns, Mapping):
        raise InputError(f"data.columns must be names by role, data.columns.actions=[u]; got {columns!r}")
    found: dict[str, list[str] | None] = {}
    for role, names in columns.items():
        if role not in USUAL:
            raise InputError(
                f"no setting 'data.columns.{role}'; there are {', '.join(USUAL)}{nearest(str(role), USUAL)}"
            )
        listed = [names] if isinstance(names, str | int | float) else names
        if listed is None and role in NEEDED:
            raise InputError(f"data.columns.{role}=null: {role} are needed; name their columns")
        if listed is not None and (not isinstance(listed, list | tuple) or not listed):
            raise InputError(f"data.columns.{role} must be a name or a list of names, got {names!r}")
        found[role] = None if listed is None else [str(name) for name in listed]
        if role not in WIDE and listed is not None and len(listed) > 1:
            raise InputError(f"data.columns.{role} takes one name, got {', '.join(found[role] or [])}")
    return found


def usual(role: str, free: Mapping[str, str]) -> list[str]:
    """The columns of a role by their usual names, of `free` (name in lower case -> name). Raises InputError.

    One column, or numbered ones of one number each: `obs_0 obs_1`, `obs[0] obs[1]`, from 0 or 1 without a gap.
    """
    for name in USUAL[role]:
        if name in free:
            return [free[name]]
        if role not in WIDE:
            continue
        pattern = re.compile(rf"{re.escape(name)}(?:[_.]?(\d{{1,9}})|\[(\d{{1,9}})\])")
        numbered = {int(m[1] or m[2]): free[key] for key in free if (m := pattern.fullmatch(key))}
        if numbered:
            first, last = min(numbered), max(numbered)
            if first > 1 or len(numbered) != last - first + 1:
                gap = next(i for i in range(last + 1) if i not in numbered and (i or first > 1))
                raise InputError(f"{role}: {numbered[last]!r} is there and number {gap} is not")
            return [numbered[i] for i in sorted(numbered)]
    return []


def find(
    names: Iterable[str], columns: Mapping[str, Any] | None, needed: Iterable[str] = NEEDED, ended: bool = False
) -> Found:
    """The columns of each role: named ones, then usual names among the rest. Raises InputError.

    A role that is not in the result has no column. `terminals` may be missing only where something else ends episodes,
    or they are `ended` anyway.
    """
    known, chosen = list(names), checked(columns)
    for role, group in chosen.items():
        for name in group or ():
            if name not in known:
                raise InputError(f"data.columns.{role}: no column {name!r}{nearest(name, known)}; {listing(known)}")
    found = {role: group for role, group in chosen.items() if group}
    taken = {name for group in found.values() for name in group}
    free = {name.strip().lower(): name for name in known if name not in taken}
    for role in USUAL:
        if role not in chosen and (group := usual(role, free)):
            found[role] = group
    ended = ended or bool({"timeouts", "episode"} & set(found))
    for role in (*needed, *(() if ended else ("terminals",))):
        if role not in found and role not in chosen:
            raise InputError(f"this log has no {role!r}{nearest(role, known)}; {hint_for(role)}; {listing(known)}")
    return found


def hint_for(role: str) -> str:
    """What to write where a role has no column."""
    without = {
        "terminals": "; data.columns.terminals=null: no step is terminal",
        "timeouts": "; data.columns.timeouts=null reads without: only terminals end an episode",
    }
    return f"data.columns.{role}=NAME names {'them' if role.endswith('s') else 'it'}{without.get(role, '')}"


def listing(names: list[str]) -> str:
    """The first names of what is there."""
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"it has {shown or 'nothing'}"


def gather(found: Found, read: Read, single: bool, named: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The array of each role; several columns are put side by side. Raises InputError.

    `single`: a column of one number each, [T], stands for [T, 1] where a role is wide; so do those of roles in `named`.
    Terminals and timeouts that `named` reads without are not set.
    """
    named = named or {}
    columns, arrays = read(list(dict.fromkeys(name for names in found.values() for name in names))), dict[str, Any]()
    for role, names in found.items():
        parts = [stacked(name, columns[name]) for name in names]
        if role not in ("episode", "step"):  # which may be words
            for name, part in zip(names, parts, strict=True):
                refuse_text(name, part)
                if role in ENDS and part.dtype.kind == "f" and np.isnan(part).any():  # nan is no flag
                    raise InputError(f"column {name!r} has no value at row {np.argmax(np.isnan(part))}")
        if role in WIDE and (single or len(parts) > 1 or role in named):
            parts = [part[:, None] if part.ndim == 1 else part for part in parts]
        if len({len(part) for part in parts if part.ndim}) > 1 or (len(parts) > 1 and any(p.ndim != 2 for p in parts)):
            raise InputError(f"{role}: the columns {', '.join(names[:12])} do not have the same number of rows")
        arrays[role] = parts[0] if len(parts) == 1 else np.concatenate(parts, 1)
    return arrays | {role: none_of(arrays) for role in ENDS if role in named and named[role] is None}


def stacked(name: str, values: Any) -> np.ndarray:
    """A column as an array; a column of lists of equal length as [T, n]. Raises InputError."""
    try:
        array = np.asarray(values)
        if array.dtype == object and array.ndim == 1 and len(array) and hasattr(array[0], "__len__"):
            return array if isinstance(array[0], str | bytes) else np.stack([np.asarray(row) for row in array])
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"column {name!r} is no array of numbers: {error}") from error
    return array


def refuse_text(name: str, column: np.ndarray) -> None:
    """Refuse a column with words, or with cells that are empty. Raises InputError that names the first such row."""
    if column.dtype.kind not in "OUST" or column.ndim != 1:
        return
    for row, cell in enumerate(column):
        try:
            empty = cell is None or not str(cell).strip() or float(cell) != float(cell)
        except (TypeError, ValueError):
            raise InputError(f"column {name!r} has {shortened(repr(cell))} at row {row}, which is no number") from None
        if empty:
            raise InputError(f"column {name!r} has no value at row {row}")


def tell_undecided(found: Found, arrays: dict[str, Any], columns: Mapping[str, Any] | None, origin: str) -> None:
    """Say once how a column such as `done` is taken, which does not tell a terminal state from a cut.

    Missing timeouts are added where this is said: that nothing is a timeout needs no second line.
    """
    name = found.get("terminals", [""])[0]
    if name.strip().lower() not in UNDECIDED or "terminals" in (columns or {}):
        return
    if "timeouts" not in arrays:
        said(
            f"{origin}{name!r} may mark terminal states or cuts: it counts as terminal, so nothing is bootstrapped;"
            f" data.columns.timeouts={name} counts it as cuts"
        )
        arrays["timeouts"] = none_of(arrays)
        return
    terminal, cut = (np.asarray(arrays[role]).reshape(-1) == 1 for role in ("terminals", "timeouts"))
    if "timeouts" in found and len(terminal) == len(cut) and cut.any() and terminal[cut].all():
        said(
            f"{origin}{name!r} is set wherever {found['timeouts'][0]!r} is, so these ends count as terminal and nothing"
            f" is bootstrapped; data.columns.timeouts={name} counts every end as a cut, data.columns.terminals=NAME"
            " names a column of terminal states alone"
        )


def none_of(arrays: Mapping[str, Any]) -> np.ndarray:
    """Flags of which none is set: [T]."""
    return np.zeros(np.shape(arrays["rewards"])[:1], bool)
