"""Where Hydra looks for sweepers: `ramac -m` hands its cells to ramac.experiment.grid.folder."""

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper


class RamacGrid(BasicSweeper):
    """Every combination of the swept values, each in a folder of its own, run once."""

    def sweep(self, arguments: list[str]) -> Any:
        from ramac.experiment.grid.sweep import (
            sweep,  # when asked: Hydra imports this file in every program that uses it
        )

        return sweep(self, arguments)
