"""Columnar files in spans of rows, streaming: parquet, and Arrow (streams as `datasets` saves them, Feather), which is memory-mapped.

Both are groups of rows that are read from their beginning; an Arrow file is one group. Does not know: what a column means.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from pairloom.data.disk import readable
from pairloom.data.shards import SIZE
from pairloom.errors import Mistake

PARQUET = ".parquet"
ARROW = (".arrow", ".feather")
SUFFIXES = (PARQUET, *ARROW)
LISTED = b"ARROW1"  # first bytes of an Arrow file with a list of its batches


def is_columnar(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


class ParquetFile:
    """A parquet file: groups of rows, of which `batches` gives up to `size` at a time, and of these the columns, or fields of
    columns ("image.path"), that are named."""

    def __init__(self, path: Path) -> None:
        self.file = pq.ParquetFile(_handle(path), buffer_size=1 << 20, pre_buffer=False)
        self.schema: pa.Schema = self.file.schema_arrow
        self.groups: int = self.file.num_row_groups

    def count(self, group: int) -> int:
        return int(self.file.metadata.row_group(group).num_rows)

    def batches(self, group: int, size: int, names: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        yield from self.file.iter_batches(size, row_groups=[group], columns=names)

    def close(self) -> None:
        self.file.close()


class ArrowFile:
    """An Arrow file, a stream of batches or one with a list of them at its end: one group of rows."""

    groups = 1

    def __init__(self, path: Path) -> None:
        self.source = pa.memory_map(str(path)) if readable(str(path)) == str(path) else _handle(path)
        self.has_list = self.source.read(len(LISTED)) == LISTED
        self.schema: pa.Schema = self._reader().schema

    def _reader(self) -> Any:
        self.source.seek(0)
        return pa.ipc.open_file(self.source) if self.has_list else pa.ipc.open_stream(self.source)

    def _whole(self) -> Iterator[pa.RecordBatch]:
        reader = self._reader()
        if self.has_list:
            yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            yield from reader

    def count(self, group: int) -> int:
        return sum(batch.num_rows for batch in self._whole())

    def batches(self, group: int, size: int, names: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        for batch in self._whole():
            if names is not None:
                batch = _selected(batch, names)
            yield from (batch.slice(start, size) for start in range(0, batch.num_rows, size))

    def close(self) -> None:
        self.source.close()


def _selected(batch: pa.RecordBatch, names: list[str]) -> pa.RecordBatch:
    """Some columns of a batch; of a column with fields ("image.path") that field without the others."""
    batch.validate()
    columns: dict[str, pa.Array] = {}
    for name in names:
        whole, _, inner = name.rpartition(".")
        if name in batch.schema.names:
            columns[name] = batch.column(name)
        else:
            columns[whole] = pa.StructArray.from_arrays([batch.column(whole).field(inner)], [inner])
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


ColumnarFile: TypeAlias = ParquetFile | ArrowFile


def opened(path: Path) -> ColumnarFile:
    """A columnar file; a broken one is a Mistake that names it."""
    try:
        return ArrowFile(path) if path.suffix.lower() in ARROW else ParquetFile(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _broken(path, error) from error


def schema(path: Path) -> pa.Schema:
    """The columns of a file. Raises an error of Arrow or of the disk where it is broken."""
    if path.suffix.lower() in ARROW:
        with closing(ArrowFile(path)) as table:
            return table.schema
    with _handle(path) as file:
        return pq.read_schema(file)


def writer(path: Path, target: IO[bytes], schema: pa.Schema) -> Any:
    """A writer of tables of a schema to an open file, by the kind that its path names."""
    if path.suffix.lower() not in ARROW:
        return pq.ParquetWriter(target, schema)
    return (pa.ipc.new_file if path.suffix.lower() == ".feather" else pa.ipc.new_stream)(target, schema)


def _handle(path: Path) -> pa.NativeFile:
    """A file opened for Arrow, whatever the bytes of its path are."""
    if readable(str(path)) == str(path):
        return pa.OSFile(str(path))
    with open(path, "rb") as file:
        return pa.BufferReader(pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))


def _broken(path: Path, error: Exception) -> Mistake:
    kind = "Arrow" if path.suffix.lower() in ARROW else "parquet"
    return Mistake(f"{path} is not a sound {kind} file.", str(error)[:300], "Make or download it again.")


def spans(path: Path, column: str | None) -> list[tuple[int, int, str]]:
    """(start, stop, group) of SIZE rows each; neighbours of one value (not None) in the column stay together."""
    ranges: list[tuple[int, int, str]] = []
    with closing(opened(path)) as table:
        names = [place for field in table.schema if field.name == column for place in _place(field)]
        for number in range(table.groups):
            start, before, at = 0, None, 0
            for row in _batched(path, table, number, names):
                same = row.get(column) if column else None
                if at - start >= SIZE and (same is None or same != before):
                    ranges.append((start, at, str(number)))
                    start = at
                before, at = same, at + 1
            if at > start:
                ranges.append((start, at, str(number)))
    return ranges


def first(path: Path, count: int | None, wanted: list[str] | None) -> Iterator[dict[str, Any]]:
    """The first rows of the first group, or all rows. wanted: columns; of a few rows these come without
    the bytes of pictures."""
    with closing(opened(path)) as table:
        names = None
        if wanted is not None:
            fields = [field for field in table.schema if field.name in wanted]
            names = [name for field in fields for name in ([field.name] if count is None else _place(field))]
        for number in range(table.groups):
            yield from islice(_batched(path, table, number, names), count)
            if count is not None:
                return


def _place(field: pa.Field) -> list[str]:
    """What of an image column tells rows apart without reading pictures: the path beside the bytes, or the path itself."""
    if pa.types.is_struct(field.type):
        return [f"{field.name}.path"] if field.type.get_field_index("path") >= 0 else []
    return [] if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type) else [field.name]


def _batched(
    path: Path, table: ColumnarFile, number: int, names: list[str] | None
) -> Iterator[dict[str, Any]]:
    """Rows of one group, some at a time. A row without columns is still a row."""
    try:
        if names == []:
            yield from ({} for _ in range(table.count(number)))
            return
        for batch in table.batches(number, 64 if names is None else 4096, names):
            yield from _values(batch)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise _broken(path, error) from error


def rows(path: Path, start: int, stop: int, number: int) -> Iterator[dict[str, Any]]:
    """Rows of a group. A group can be read from its beginning only, so that its reader is kept for the next span."""
    facts = os.stat(path)
    key = (str(path), facts.st_ino, facts.st_size, facts.st_mtime_ns, number)
    reader = _READERS.pop(key, None)
    if reader is None or reader.at > start:
        reader = _GroupReader(path, number)
    yield from reader.rows(start, stop)
    _READERS.clear()
    _READERS[key] = reader


def _values(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows as Python values. Times to the nanosecond, which Python has not, are numbers where they need it."""
    batch.validate(full=True)  # what a memory-mapped file says of its strings is not checked by reading it
    try:
        return batch.to_pylist()  # type: ignore[no-any-return]
    except ValueError:
        arrays = [
            array.view(pa.int64())
            if pa.types.is_temporal(array.type) and getattr(array.type, "unit", "") == "ns"
            else array
            for array in batch.columns
        ]
        return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names).to_pylist()  # type: ignore[no-any-return]


class _GroupReader:
    """Rows of one group, forwards; those that are passed over are not made into Python values."""

    def __init__(self, path: Path, number: int) -> None:
        self.path, self.at = path, 0
        self.table = opened(path)
        self.batches = self.table.batches(number, 64)
        self.batch: pa.RecordBatch | None = None
        self.left = 0  # rows of the batch that come next

    def rows(self, start: int, stop: int) -> Iterator[dict[str, Any]]:
        try:
            while self.at < stop:
                if not self.left:
                    self.batch = next(self.batches, None)
                    if self.batch is None:
                        return
                    self.left = self.batch.num_rows
                assert self.batch is not None
                start_of = self.batch.num_rows - self.left
                passed = min(self.left, max(0, start - self.at))
                count = min(self.left - passed, max(0, stop - self.at - passed))
                self.at, self.left = self.at + passed + count, self.left - passed - count
                if count:
                    yield from _values(self.batch.slice(start_of + passed, count))
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            raise _broken(self.path, error) from error


_READERS: dict[tuple[object, ...], _GroupReader] = {}  # at most the last one
