"""Hydra looks here for sweepers: `ramac -m` hands its runs to ramac.cli.grid."""

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper


class RamacGrid(BasicSweeper):
    """Every combination of the swept values, each run once in a folder of its own."""

    def sweep(self, arguments: list[str]) -> Any:
        from ramac.cli.grid import sweep  # when asked: Hydra imports this file in every program that uses it

        return sweep(self, arguments)
