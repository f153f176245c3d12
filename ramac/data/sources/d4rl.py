"""D4RL's files (HDF5)."""

from pathlib import Path

from ramac.data import Log
from ramac.data.sources import ColumnSource, read_d4rl
from ramac.registry import sources


@sources.register("d4rl")
class D4RL(ColumnSource):
    """A D4RL file (HDF5): `observations actions rewards terminals timeouts`, perhaps `next_observations`.

    `columns`: names of its arrays by role. Paper: Fu et al. 2020, D4RL.
    """

    endings = (".hdf5", ".h5")

    def read(self, path: Path) -> Log:
        return read_d4rl(path, self.columns)
