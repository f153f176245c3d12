"""LeRobot's datasets: a folder with parquet files under `data`."""

from pathlib import Path

from ramac.data import Log
from ramac.data.sources import ColumnSource
from ramac.data.tables import files_in, need_pyarrow, parquet_columns, parquet_names
from ramac.registry import sources


@sources.register("lerobot")
class LeRobot(ColumnSource):
    """A LeRobot dataset: a folder with `data/**/*.parquet`, whose columns are `observation.state`, `action`, ...

    `columns`: names of columns by role. Videos are not read. Paper: Cadene et al. 2024, LeRobot.
    """

    folder = True

    def read(self, path: Path) -> Log:
        need_pyarrow("lerobot")
        files = files_in(path, "data/**/*.parquet")
        return self.log(path, parquet_names(files[0]), lambda names: parquet_columns(files, names))
