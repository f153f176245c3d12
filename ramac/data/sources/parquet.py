"""parquet files: one row per step."""

from pathlib import Path

from ramac.data import Log
from ramac.data.sources import ColumnSource
from ramac.data.tables import need_pyarrow, parquet_columns, parquet_names
from ramac.registry import sources


@sources.register("parquet")
class Parquet(ColumnSource):
    """A parquet file with one row per step; a column holds numbers or lists of numbers.

    `columns`: names of columns by role.
    """

    endings = (".parquet", ".pq")

    def read(self, path: Path) -> Log:
        need_pyarrow("parquet")
        return self.log(path, parquet_names(path), lambda names: parquet_columns([path], names))
