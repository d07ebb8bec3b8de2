"""Rows of CSV, TSV, JSON lines and parquet files in spans, streaming. Does not know: what a column means.

A row is a dict of columns, or a string that says why it cannot be read.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pairloom.data.disk import readable
from pairloom.data.formats._texts import decode
from pairloom.data.shards import SIZE
from pairloom.errors import Mistake

WIDEST = 1 << 26  # characters of one cell: base64 pictures fit, a quote that is never closed ends here
Row = dict[str, Any] | str


def columns(path: Path) -> list[str]:
    """The names of a table's columns ([] where it is no table): the header, or the first row's keys."""
    try:
        if path.suffix.lower() == ".parquet":
            with _handle(path) as file:
                return list(pq.read_schema(file).names)
        if path.suffix.lower() == ".jsonl":
            with open(path, "rb") as file:
                first = _object(file.readline(WIDEST))
            return list(first) if isinstance(first, dict) else []
        return _header(path)[0]
    except (OSError, pa.ArrowException, csv.Error):
        return []


def spans(path: Path, column: str | None) -> list[tuple[int, int, str]]:
    """(start, stop, part) of SIZE rows each; neighbours of one value (not None) in the column stay together.

    Text files: bytes. Parquet: rows of the row group that `part` names. Raises Mistake where the file is broken.
    """
    if path.suffix.lower() == ".parquet":
        return _parquet_spans(path, column)
    ranges: list[tuple[int, int, str]] = []
    count, first, last, before = 0, 0, 0, None
    for start, stop, row in _located(path, 0, os.path.getsize(path)):
        same = row.get(column) if column and isinstance(row, dict) else None
        if count >= SIZE and (same is None or same != before):
            ranges.append((first, last, ""))
            count = 0
        first, last, before = (first if count else start), stop, same
        count += 1
    return [*ranges, (first, last, "")] if count else ranges


def rows(path: Path, start: int, stop: int, part: str = "") -> Iterator[Row]:
    """The rows of one span."""
    if path.suffix.lower() == ".parquet":
        yield from _parquet_rows(path, start, stop, int(part))
    else:
        for _, _, row in _located(path, start, stop):
            yield row


def _located(path: Path, start: int, stop: int) -> Iterator[tuple[int, int, Row]]:
    return _lines(path, start, stop) if path.suffix.lower() == ".jsonl" else _cells(path, start, stop)


def _lines(path: Path, start: int, stop: int) -> Iterator[tuple[int, int, Row]]:
    with open(path, "rb") as file:
        file.seek(start)
        at = start
        while at < stop and (line := file.readline(WIDEST)):
            begin, at = at, at + len(line)
            if line.strip(b" \t\r\n\xef\xbb\xbf"):
                yield begin, at, _object(line)


def _object(line: bytes) -> Row:
    try:
        value = json.loads(decode(line)[0], strict=False)
    except (ValueError, RecursionError) as error:
        return f"row is not JSON: {error}"[:200]
    return value if isinstance(value, dict) else "row is not a JSON object"


def _header(path: Path) -> tuple[list[str], int]:
    """Column names and the byte where the rows begin."""
    with open(path, "rb") as file:
        reader = _Reader(file, 0, path.suffix.lower())
        names = next(reader.rows, [])
        return [name.strip() for name in names], reader.at


class _Reader:
    """csv's reader with the byte position after each row: it asks for lines only as it needs them."""

    def __init__(self, file: Any, start: int, suffix: str) -> None:
        self.file, self.at = file, start
        self.file.seek(start)
        self.rows = csv.reader(self._fed(), delimiter="\t" if suffix == ".tsv" else ",")

    def _fed(self) -> Iterator[str]:
        while line := self.file.readline(WIDEST):
            begin, self.at = self.at, self.at + len(line)
            text = line.removeprefix(b"\xef\xbb\xbf") if not begin else line
            yield decode(text)[0].replace("\0", "")


def _cells(path: Path, start: int, stop: int) -> Iterator[tuple[int, int, Row]]:
    names, begin = _header(path)
    at = max(start, begin)
    limit = csv.field_size_limit(WIDEST)
    try:
        with open(path, "rb") as file:
            while at < stop:  # once, and again behind every row that csv cannot read
                reader = _Reader(file, at, path.suffix.lower())
                try:
                    for cells in reader.rows:
                        row: Row = dict(zip(names, cells))
                        if len(cells) != len(names):
                            row = f"row has {len(cells)} cells, not {len(names)}"
                        if cells:
                            yield at, reader.at, row
                        at = reader.at
                        if at >= stop:
                            break
                    else:
                        break
                except csv.Error as error:
                    yield at, reader.at, f"row cannot be read: {error}"
                    at = reader.at
    finally:
        csv.field_size_limit(limit)


def opened(path: Path) -> pq.ParquetFile:
    """A parquet file; a broken one is a Mistake that names it."""
    try:
        return pq.ParquetFile(_handle(path), buffer_size=1 << 20, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from error


def _handle(path: Path) -> pa.NativeFile:
    """A file opened for Arrow, whatever the bytes of its path are."""
    if readable(str(path)) == str(path):
        return pa.OSFile(str(path))
    return pa.PythonFile(open(path, "rb"), "r")


def _broken(path: Path, error: Exception) -> Mistake:
    return Mistake(f"{path} is not a sound parquet file.", str(error)[:300], "Make or download it again.")


def _parquet_spans(path: Path, column: str | None) -> list[tuple[int, int, str]]:
    spans: list[tuple[int, int, str]] = []
    with opened(path) as file:
        names = [place for field in file.schema_arrow if field.name == column for place in _place(field)]
        for number in range(file.num_row_groups):
            first, before, at = 0, None, 0
            for row in _batched(path, file, number, names):
                same = row.get(column) if column else None
                if at - first >= SIZE and (same is None or same != before):
                    spans.append((first, at, str(number)))
                    first = at
                before, at = same, at + 1
            if at > first:
                spans.append((first, at, str(number)))
    return spans


def _place(field: pa.Field) -> list[str]:
    """What of an image column tells rows apart without reading pictures: the path beside the bytes, or the path itself."""
    if pa.types.is_struct(field.type):
        return [f"{field.name}.path"] if field.type.get_field_index("path") >= 0 else []
    return [] if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type) else [field.name]


def _batched(
    path: Path, file: pq.ParquetFile, number: int, names: list[str] | None
) -> Iterator[dict[str, Any]]:
    """Rows of one row group, some at a time. A row without columns is still a row."""
    if names == []:
        yield from ({} for _ in range(file.metadata.row_group(number).num_rows))
        return
    try:
        for batch in file.iter_batches(64 if names is None else 4096, row_groups=[number], columns=names):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise _broken(path, error) from error


def _parquet_rows(path: Path, start: int, stop: int, number: int) -> Iterator[Row]:
    with opened(path) as file:
        yield from islice(_batched(path, file, number, None), start, stop)
