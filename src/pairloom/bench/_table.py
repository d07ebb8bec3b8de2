"""Parquet files with embedded pictures, as on the Hugging Face hub: their rows and single cells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.parquet
from pyarrow import ArrowException, ChunkedArray

from pairloom.errors import Mistake


def parts(folder: Path, split: str) -> list[Path]:
    """Parts of a split, SPLIT-00000-of-0000N.parquet, all N of them; empty where there is none. Mistake where some are missing."""
    files = sorted(folder.glob(f"{split}-*.parquet"))
    wanted = {int(match[1]) for path in files if (match := re.search(r"-of-(\d+)", path.name))}
    if any(count > len(files) for count in wanted):
        raise Mistake(
            f"{folder} holds {len(files)} of {max(wanted)} parts of {split}.",
            f"{files[0].name} says how many there are.",
            "Get the others too.",
        )
    return files


def table(file: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Read these columns of all rows. Mistake where the file is cut short, is no parquet, or lacks a column."""
    try:
        names = pyarrow.parquet.read_schema(file).names
        lacking = [name for name in columns if name not in names]
        if lacking:
            raise Mistake(
                f"{file} is not laid out as released.",
                f"It has no column {' or '.join(lacking)}.",
                f"It has {', '.join(names)}.",
            )
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(file, columns=list(columns)).to_pylist()
    except (ArrowException, OSError) as error:
        raise Mistake(
            f"{file} cannot be read.", str(error), "It may be half downloaded: get it again."
        ) from error
    return rows


def picture_in(file: Path, column: str, row: int) -> bytes:
    """Read the encoded picture of a cell: bytes, or the hub's {bytes, path}. OSError where there is none."""
    try:
        with pyarrow.parquet.ParquetFile(file) as table:
            group = 0
            while row >= (count := table.metadata.row_group(group).num_rows):
                group, row = group + 1, row - count
        cell = _column(file, file.stat().st_mtime_ns, column, group)[row].as_py()
    except ArrowException as error:
        raise OSError(f"{column} of row {row} cannot be read: {error}") from error
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(data, bytes) or not data:
        raise OSError(f"{column} of row {row} holds no picture")
    return data


@lru_cache(maxsize=2)  # both pictures of neighbouring rows: a group is some tens of megabytes
def _column(file: Path, changed: int, column: str, group: int) -> ChunkedArray:
    with pyarrow.parquet.ParquetFile(file) as table:
        return table.read_row_group(group, columns=[column]).column(0)
