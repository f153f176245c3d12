"""Folders with one file per episode."""

from pathlib import Path

from ramac.data import Log
from ramac.data.csv import csv_columns, csv_names
from ramac.data.episodes import Table, log_of_episodes
from ramac.data.kinds import EPISODES, of_ending
from ramac.data.npz import npz_columns, npz_names
from ramac.data.sources import ColumnSource
from ramac.data.tables import natural, need_pyarrow, parquet_columns, parquet_names
from ramac.errors import InputError
from ramac.registry import sources


@sources.register("episodes")
class Episodes(ColumnSource):
    """A folder of npz, parquet or csv files, one episode each, in natural order: `episode_2` before `episode_10`.

    A file with several episode ids has several episodes. csv files beside others are notes. `columns`: names of columns
    by role.
    """

    folder = True

    def read(self, path: Path) -> Log:
        files = sorted((file for file in path.iterdir() if of_ending(file) in EPISODES and file.is_file()), key=natural)
        kinds = sorted({of_ending(file) for file in files})
        if len(kinds) > 1:
            kinds = [kind for kind in kinds if kind != "csv"]
        if len(kinds) != 1:
            raise InputError(
                f"a folder of episodes has files of one kind, {', '.join(EPISODES[:-1])} or {EPISODES[-1]};"
                f" this one has {' and '.join(kinds) or 'none'}"
            )
        episodes = (self.table(file) for file in files if of_ending(file) == kinds[0])
        return log_of_episodes(episodes, self.columns, f"{path}: ")

    def table(self, path: Path) -> Table:
        """The columns of one file. Raises InputError."""
        match of_ending(path):
            case "npz":
                return Table(npz_names(path), lambda names: npz_columns(path, names), False)
            case "csv":
                return Table(csv_names(path), lambda names: csv_columns(path, names, self.columns), True)
        need_pyarrow("episodes")
        return Table(parquet_names(path), lambda names: parquet_columns([path], names), True)
