"""Pairs in tables: rows of one picture become one pair, a pair becomes a row a text. Shared by imagefolder and table.

Does not know: which columns a format calls image and text.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pairloom.data.disk import atomic_write
from pairloom.data.formats import _parts
from pairloom.data.formats._texts import words_of
from pairloom.data.pair import Pair, Text

SOURCE = "text_source"  # the column of a text's source, written where one is not original


def grouped(
    rows: Iterable[dict[str, Any] | str], image: Callable[[dict[str, Any]], object]
) -> Iterator[list[Any]]:
    """Neighbouring rows of one picture together; a row that is a problem, or shows no picture by name, alone."""
    numbered = enumerate(rows)

    def which(entry: tuple[int, dict[str, Any] | str]) -> object:
        number, row = entry
        name = image(row) if isinstance(row, dict) else None
        return (name is None, number if name is None else name)

    for _, group in groupby(numbered, key=which):
        yield [row for _, row in group]


def word(value: Any) -> str | None:
    """A name as it stands in a row: a string that is not empty, or None."""
    return value if isinstance(value, str) and value else None


def words(
    rows: list[dict[str, Any]], text: str | None, image: tuple[str, ...]
) -> tuple[list[Text], dict[str, Any]]:
    """Texts and metadata of the rows of one picture: what all rows share is the pair's, the rest its text's."""
    others = [{k: v for k, v in row.items() if k not in (text, *image, SOURCE)} for row in rows]
    shared = {k: v for k, v in others[0].items() if all(k in other and other[k] == v for other in others)}
    texts = []
    for row, other in zip(rows, others):
        own = {k: v for k, v in other.items() if k not in shared}
        row_texts = words_of(row.get(text)) if text else []
        sources = row.get(SOURCE) or "original"
        each = sources if isinstance(sources, list) else [sources] * len(row_texts)
        texts += [Text(word, str(source) or "original", own) for word, source in zip(row_texts, each)]
    return texts, shared


def rows_of(pair: Pair, image: dict[str, Any], text: str) -> list[dict[str, Any]]:
    """A row a text (one row without where there is none): image columns, text, source if not all are original, metadata."""
    named = any(entry.source != "original" for entry in pair.texts)
    shards = []
    for entry in pair.texts:
        own = {**image, text: entry.text, **({SOURCE: entry.source} if named else {})}
        # ours stand first, and no metadata of the same name writes over them
        shards.append({**own, **pair.meta, **entry.meta, **own})
    bare = {**image, text: None}
    return shards or [{**bare, **pair.meta, **bare}]


def write_part(out: Path, shard: str, name: str, rows: list[dict[str, Any]]) -> None:
    """A shard's rows as the part of the table file `name`."""
    if not name.endswith(".parquet"):
        return _parts.write_lines(out, shard, rows)
    with atomic_write(_parts.part(out, shard, ".parquet"), replace=True) as file:
        pq.write_table(as_table(rows), file)


def as_table(rows: list[dict[str, Any]]) -> pa.Table:
    """A column for every field, in order of appearance; fields of mixed kinds as JSON text."""
    columns: dict[str, pa.Array] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowException, OverflowError, TypeError):
            columns[name] = pa.array([None if v is None else as_text(v) for v in values], pa.string())
    return pa.table(columns)


def as_text(value: Any) -> str:
    """A value as the text of a cell: strings as they are, None empty, all else as JSON."""
    return (
        value
        if isinstance(value, str)
        else ""
        if value is None
        else json.dumps(value, ensure_ascii=False, default=str)
    )


def join(out: Path, shards: list[str], default: str) -> None:
    """Merge the parts of all table files."""
    kinds = {".parquet": _join_parquet, ".csv": _join_csv, ".tsv": _join_csv, ".jsonl": _join_lines}
    for suffix, kind in kinds.items():
        chosen = [shard for shard in shards if _parts.target(shard, default)[0].lower().endswith(suffix)]
        _parts.merge(
            out, chosen, default, partial(kind, out), ".parquet" if suffix == ".parquet" else ".jsonl"
        )


def _join_lines(out: Path, file: Path, shards: list[str]) -> None:
    with atomic_write(file) as target:
        for row in _parts.lines(out, shards):
            target.write(json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n")


def _join_csv(out: Path, file: Path, shards: list[str]) -> None:
    names = list(dict.fromkeys(name for row in _parts.lines(out, shards) for name in row))
    with atomic_write(file) as target:
        text = io.TextIOWrapper(target, encoding="utf-8", newline="", write_through=True)
        table = csv.DictWriter(
            text, names, delimiter="\t" if file.suffix == ".tsv" else ",", lineterminator="\n"
        )
        table.writeheader()
        table.writerows({k: as_text(v) for k, v in row.items()} for row in _parts.lines(out, shards))
        text.detach()  # the file is closed by who opened it


def _join_parquet(out: Path, file: Path, shards: list[str]) -> None:
    parts = [_parts.part(out, shard, ".parquet") for shard in shards]
    schemas = [schema for schema in map(pq.read_schema, parts) if schema.names]
    kinds: dict[str, pa.DataType] = {}
    for field in (field for schema in schemas for field in schema):
        before = kinds.get(field.name, field.type)
        kinds[field.name] = (
            before if before == field.type or pa.types.is_null(field.type) else _wider(before, field.type)
        )
    schema = pa.schema(list(kinds.items()))
    with atomic_write(file) as target, pq.ParquetWriter(target, schema) as writer:
        for path in parts:
            rows = pq.read_table(path).to_pylist()
            columns = {name: [_fit(row.get(name), kind) for row in rows] for name, kind in kinds.items()}
            if rows:
                writer.write_table(pa.table(columns, schema))


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """A kind that holds both; text where they have nothing in common. An image cell's struct holds a path too."""
    for kind, word in ((one, other), (other, one)):
        if pa.types.is_struct(kind) and pa.types.is_string(word) and kind.get_field_index("path") >= 0:
            return kind
    try:
        fields = [pa.schema([("x", kind)]) for kind in (one, other)]
        return pa.unify_schemas(fields, promote_options="permissive").field("x").type
    except pa.ArrowException:
        return pa.string()


def _fit(value: Any, kind: pa.DataType) -> Any:
    if pa.types.is_struct(kind) and isinstance(value, str):
        return {"path": value}
    return as_text(value) if pa.types.is_string(kind) and value is not None else value
