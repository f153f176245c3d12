"""Episodes one by one, from files or from Python objects, to a Log."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ramac.data import Log, roles
from ramac.data.arrays import log_of, log_of_columns, numbered, with_last_observation
from ramac.data.large import joined
from ramac.data.tables import arrow_columns
from ramac.errors import InputError

EPISODE = ("observations", "actions", "rewards", "terminations", "truncations")  # parts of Minari's EpisodeData


class Table(NamedTuple):
    """Named columns of steps."""

    names: list[str]
    read: roles.Read
    single: bool  # whether a column holds one number per step


def as_log(data: Any, columns: Mapping[str, Any] | None = None) -> Log:
    """Logged data of any form in memory: a dict of arrays, a frame, or episodes of either.

    A frame is one of pandas, polars or pyarrow. Episodes are a list or a generator; Minari's EpisodeData is one too.
    Observations of T + 1 rows give the next observations. `columns`: names by role (ramac.data.roles.USUAL has the
    usual ones). Raises InputError.
    """
    if isinstance(data, Log):
        if columns:
            raise InputError("a Log has no columns to name; give the arrays themselves")
        return data
    if isinstance(data, Mapping) and data and all(isinstance(part, Mapping) for part in data.values()):
        data = data.values()  # episodes by their ids
    if (table := table_of(data)) is not None:
        return log_of_columns(table.names, table.read, columns, single=table.single)
    if isinstance(data, str | bytes) or not isinstance(data, Iterable):
        raise InputError(f"data cannot be {type(data).__name__}; {FORMS}")
    return log_of_episodes(map(episode_of, range(2**62), data), columns)


FORMS = "give a dict of arrays, a frame, or a list of episodes, each {'observations': ..., 'actions': ..., ...}"


def table_of(data: Any) -> Table | None:
    """The columns of a dict, a frame or an EpisodeData; None for anything else."""
    if isinstance(data, Mapping):
        return Table([str(key) for key in data], lambda names: {name: data[name] for name in names}, False)
    if hasattr(data, "column_names") and hasattr(data, "column"):  # pyarrow
        return Table(list(data.column_names), lambda names: arrow_columns(data, names), True)
    if hasattr(data, "columns") and hasattr(data, "__getitem__"):  # pandas and polars
        given = {str(name): name for name in data.columns}
        return Table(list(given), lambda names: {name: np.asarray(data[given[name]]) for name in names}, True)
    if hasattr(data, "observations") and hasattr(data, "actions") and hasattr(data, "rewards"):
        names = [name for name in EPISODE if getattr(data, name, None) is not None]
        return Table(names, lambda chosen: {name: getattr(data, name) for name in chosen}, False)
    return None


def episode_of(index: int, data: Any) -> Table:
    """The columns of one episode. Raises InputError with the way on."""
    if (table := table_of(data)) is None:
        kind = f"a {type(data).__name__}" + (f" of {len(data)} parts" if isinstance(data, tuple | list) else "")
        raise InputError(f"episode {index} is {kind}, which do not say what they are; {FORMS}")
    return table


def log_of_episodes(tables: Iterable[Table], columns: Mapping[str, Any] | None, origin: str = "") -> Log:
    """The Log of episodes, each of which ends with its last step. Raises InputError that names the episode.

    A part with several ids of its own has several episodes; the same id in another part is another episode.
    """
    parts: list[dict[str, np.ndarray]] = []
    names: roles.Found = {}
    count = 0
    for index, table in enumerate(tables):
        try:
            found = roles.find(table.names, columns, ended=True)
            names = found | names  # of the first part that has them
            part = with_last_observation(roles.gather(found, table.read, table.single, columns))
            ids = numbered(part["episode"]) if "episode" in part else np.zeros(len(part["rewards"]), int)
        except InputError as error:
            raise InputError(f"episode {index}: {error}") from error
        part["episode"] = count + ids
        count += 1 + int(ids.max(initial=-1))
        if parts and (other := next(iter((set(part) ^ set(parts[0])) - {"timeouts"}), None)):
            raise InputError(f"episode {index}: all episodes have {other}, or none has")
        parts.append(part)
    if not parts:
        raise InputError("there are no episodes")
    if "timeouts" in set().union(*parts):
        parts = [{"timeouts": roles.none_of(part), **part} for part in parts]
    for role in parts[0]:
        shapes = [part[role].shape[1:] for part in parts]
        if other := next((i for i, shape in enumerate(shapes) if shape != shapes[0]), 0):
            raise InputError(f"episode {other}: {role} have shape {[*shapes[other]]} per step, not {[*shapes[0]]}")
    whole = {role: joined([part[role] for part in parts]) for role in parts[0]}
    roles.tell_undecided(names, whole, columns, origin)
    return log_of({"timeouts": roles.none_of(whole), **whole}, origin)
