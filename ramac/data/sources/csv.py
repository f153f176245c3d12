"""csv files: a header and one row per step."""

from pathlib import Path

from ramac.data import Log
from ramac.data.csv import csv_columns, csv_names
from ramac.data.sources import ColumnSource
from ramac.registry import sources


@sources.register("csv")
class CSV(ColumnSource):
    """A csv file: a header and one row per step; commas, semicolons or tabs. `columns`: names of columns by role.

    A single action of whole numbers is an amount where some are negative or more than 20 differ, else a choice.
    """

    endings = (".csv", ".tsv")

    def read(self, path: Path) -> Log:
        return self.log(path, csv_names(path), lambda names: csv_columns(path, names, self.columns))
