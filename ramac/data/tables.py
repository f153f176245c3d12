"""Tables of Apache Arrow (parquet and arrow files) as columns of numbers."""

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ramac.data.limits import refuse_larger
from ramac.errors import InputError


def need_pyarrow(source: str) -> None:
    """Refuse a source where pyarrow is missing. Raises InputError."""
    if find_spec("pyarrow") is None:
        raise InputError(f"source={source} needs pyarrow, which is not installed: pip install 'ramac[parquet]'")


def natural(path: Path) -> list[tuple[int, Any]]:
    """Key that sorts `episode_2` before `episode_10`."""
    words = re.split(r"(\d+)", str(path))
    return [(0, int(word)) if word.isdecimal() and len(word) < 100 else (1, word) for word in words]


def files_in(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder in natural order. Raises InputError where there are none."""
    found = sorted((path for path in folder.glob(pattern) if path.is_file()), key=natural)
    if not found:
        raise InputError(f"no file {pattern} in this folder")
    return found


def parquet_names(path: Path) -> list[str]:
    """Names of the columns of a parquet file."""
    import pyarrow.parquet as pq

    return list(pq.read_schema(path).names)


def parquet_columns(paths: Sequence[Path], names: list[str]) -> dict[str, Any]:
    """Columns of parquet files with the same columns, one file after the other. Raises InputError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for path in paths:
        with pq.ParquetFile(path) as file:
            if missing := [name for name in names if name not in file.schema_arrow.names]:
                raise InputError(f"{path.name} has no column {missing[0]!r}, which {paths[0].name} has")
            about = file.metadata
            inside = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
            refuse_larger(max(inside, about.num_rows * 8 * len(names)), path.stat().st_size)
            tables.append(file.read(columns=names, use_threads=False))
    return arrow_columns(pa.concat_tables(tables, promote_options="permissive"), names)


def arrow_columns(table: Any, names: list[str]) -> dict[str, Any]:
    """Columns of an Arrow table: [T], and [T, n] where a row is a list of n numbers. Raises InputError."""
    table.validate(full=True)  # a damaged file may have offsets that point anywhere
    return {name: column(name, table.column(name)) for name in names}


def column(name: str, chunks: Any) -> np.ndarray:
    """One column of an Arrow table. Raises InputError for missing values and lists of unequal length."""
    import pyarrow as pa

    nested = pa.types.is_list(chunks.type) or pa.types.is_large_list(chunks.type)
    if not nested and not pa.types.is_fixed_size_list(chunks.type):
        return chunks.to_numpy()  # a missing number becomes nan
    rows, parts = len(chunks), []
    for chunk in chunks.chunks:
        if chunk.null_count:
            raise InputError(f"column {name!r} has rows without a list")
        flat = chunk.flatten()
        if flat.null_count or not (pa.types.is_floating(flat.type) or pa.types.is_integer(flat.type)):
            raise InputError(f"column {name!r} must hold lists of numbers, got {chunk.type}")
        width = len(flat) // max(len(chunk), 1)
        if nested and (np.diff(chunk.offsets.to_numpy()) != width).any():
            raise InputError(f"column {name!r} has lists of unequal length")
        parts.append(flat.to_numpy(zero_copy_only=False).reshape(len(chunk), width))
    if len({part.shape[1] for part in parts if len(part)}) > 1:
        raise InputError(f"column {name!r} has lists of unequal length")
    return np.concatenate([part for part in parts if len(part)]) if rows else np.empty((0, 0))
