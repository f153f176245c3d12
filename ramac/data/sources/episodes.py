"""Folders with one file per episode."""

from pathlib import Path

from ramac.data import Log
from ramac.data.episodes import Table, log_of_episodes
from ramac.data.npz import npz_columns, npz_names
from ramac.data.sources import ColumnSource
from ramac.data.tables import files_in, need_pyarrow, parquet_columns, parquet_names
from ramac.errors import InputError
from ramac.registry import sources


@sources.register("episodes")
class Episodes(ColumnSource):
    """A folder of npz or parquet files, one episode each, in natural order: `episode_2` before `episode_10`.

    `columns`: names of columns by role.
    """

    folder = True

    def read(self, path: Path) -> Log:
        endings = {file.suffix for file in path.iterdir()} & {".npz", ".parquet"}
        if len(endings) != 1:
            found = "both kinds" if endings else "none"
            raise InputError(f"a folder of episodes has npz files or parquet files, this one has {found}")
        files = files_in(path, f"*{endings.pop()}")
        return log_of_episodes(map(table_of, files), self.columns, f"{path}: ")


def table_of(path: Path) -> Table:
    """The columns of one file. Raises InputError."""
    if path.suffix == ".npz":
        return Table(npz_names(path), lambda names: npz_columns(path, names), False)
    need_pyarrow("episodes")
    return Table(parquet_names(path), lambda names: parquet_columns([path], names), True)
