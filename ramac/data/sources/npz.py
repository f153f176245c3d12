"""npz files: arrays of numpy.savez."""

from pathlib import Path

from ramac.data import Log
from ramac.data.npz import npz_columns, npz_names
from ramac.data.sources import ColumnSource
from ramac.registry import sources


@sources.register("npz")
class NPZ(ColumnSource):
    """A file of numpy.savez: arrays by name, one row per step, no pickles. `columns`: names of arrays by role."""

    endings = (".npz",)

    def read(self, path: Path) -> Log:
        return self.log(path, npz_names(path), lambda names: npz_columns(path, names), single=False)
