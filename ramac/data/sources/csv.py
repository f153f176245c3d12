"""csv files: a header and one row per step."""

from pathlib import Path
from typing import Any

from ramac.data import Log
from ramac.data.sources import ColumnSource
from ramac.errors import InputError
from ramac.registry import sources


@sources.register("csv")
class CSV(ColumnSource):
    """A csv file: a header and one row per step; commas, semicolons or tabs. `columns`: names of columns by role."""

    endings = (".csv", ".tsv")

    def read(self, path: Path) -> Log:
        import pandas as pd  # half a second, which other sources need not wait for

        with path.open(encoding="utf-8-sig") as file:
            head = file.readline(2**20)
        sign = max(",;\t", key=head.count)
        options: dict[str, Any] = {"sep": sign, "encoding": "utf-8-sig", "skipinitialspace": True, "low_memory": False}
        written = [name.strip() for name in head.rstrip("\r\n").split(sign)]
        if again := [name for name in written if name and written.count(name) > 1]:
            raise InputError(f"two columns have the name {again[0]!r}")
        names = list(map(str, pd.read_csv(path, nrows=0, **options).columns))
        return self.log(path, names, lambda chosen: pd.read_csv(path, usecols=chosen, **options))
