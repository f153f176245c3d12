"""Folders of the Hugging Face library `datasets`, read without it."""

import re
from pathlib import Path
from typing import Any

from ramac.data import Log
from ramac.data.limits import refuse_larger
from ramac.data.sources import ColumnSource
from ramac.data.tables import arrow_columns, files_in, natural, need_pyarrow, parquet_columns, parquet_names
from ramac.errors import InputError
from ramac.registry import sources
from ramac.system.untrusted import read_json, regular

SHARD = re.compile(r"(.+?)-\d+-of-\d+")  # `train-00000-of-00002.parquet`
# words by which `datasets` knows a split, in the name of a file or folder (its `data_files` patterns)
SPLIT = re.compile(r"(?:^|[-._ /])(train|training|validation|valid|dev|val|test|testing|eval|evaluation)(?=[-._ /\d])")


@sources.register("huggingface")
class HuggingFace(ColumnSource):
    """A folder of `datasets`: of `save_to_disk` (arrow files), or parquet shards. `columns`: names of columns by role.

    Paper: Lhoest et al. 2021, Datasets.
    """

    folder = True

    def read(self, path: Path) -> Log:
        need_pyarrow("huggingface")
        if (path / "dataset_dict.json").exists():
            splits = sorted(part.name for part in path.iterdir() if part.is_dir())
            raise InputError(f"several splits, {', '.join(splits)}: name the folder of one, data={path / splits[0]}")
        if arrow := arrow_files(path):
            refuse_splits(path, arrow)
            table = arrow_table(arrow)
            return self.log(path, table.column_names, lambda names: arrow_columns(table, names))
        files = files_in(path, "**/*.parquet")
        refuse_splits(path, files)
        return self.log(path, parquet_names(files[0]), lambda names: parquet_columns(files, names))


def refuse_splits(folder: Path, files: list[Path]) -> None:
    """Refuse the files of several splits or configurations. Raises InputError."""
    found: dict[str, Path] = {}
    for file in files:
        name = file.relative_to(folder).as_posix()
        if match := SHARD.match(name) or SPLIT.search(name):
            found.setdefault(match[1], file)
    if len(found) > 1:
        first = min(found)
        raise InputError(
            f"several splits, {', '.join(sorted(found))}: name a file of one, data={found[first]}, or a folder that"
            " holds the files of one alone"
        )


def arrow_files(folder: Path) -> list[Path]:
    """The arrow files of a folder: those that `state.json` lists, in its order. Raises InputError."""
    if not (folder / "state.json").exists():
        return sorted((file for file in folder.glob("*.arrow") if file.is_file()), key=natural)
    listed = read_json(folder / "state.json").get("_data_files", [])
    files = (
        [regular(folder / Path(str(part.get("filename"))).name) for part in listed if isinstance(part, dict)]
        if isinstance(listed, list)
        else []
    )
    if not files:
        raise InputError("state.json lists no files")
    return files


def arrow_table(paths: list[Path]) -> Any:
    """The table in files of Arrow's stream format, which stay on the disk until a column is read."""
    import pyarrow as pa

    tables = []
    for path in paths:
        table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
        refuse_larger(table.nbytes, path.stat().st_size)
        tables.append(table)
    return pa.concat_tables(tables, promote_options="permissive")
