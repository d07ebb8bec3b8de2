"""Pairs in tables: rows of one picture become one pair, a pair becomes a row a text. Shared by imagefolder and table.

Does not know: which columns a format calls image and text.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pairloom.data.disk import atomic_write
from pairloom.data.formats import _columnar, _columns, _parts, _rows
from pairloom.data.pair import Pair, Text

FEATURES = b"huggingface"  # of a schema's metadata: what datasets makes of the columns
TURNS = ("conversations", "messages")  # not written: a caption is no conversation
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
    """A name as it stands in a row, also as a number, the only one of a list or in an object: a string that is not empty, or None."""
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        value = value.get("path") or value.get("file_name")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # a stem that is a number
    return value if isinstance(value, str) and value else None


def words(
    rows: list[dict[str, Any]], columns: Sequence[str], image: tuple[str, ...]
) -> tuple[list[Text], dict[str, Any], tuple[str, ...]]:
    """Texts, metadata and notes of the rows of one picture: what all rows share is the pair's, the rest its text's.

    columns: where a text may stand: the first of them that holds one is a row's, so that no row decides for another; or a series.
    """
    in_columns = [_columns.texts_among(row, columns) for row in rows]
    others = [
        {k: v for k, v in row.items() if k not in (*taken, *image, SOURCE)}
        for row, (taken, _, _) in zip(rows, in_columns)
    ]
    shared = {k: v for k, v in others[0].items() if all(k in other and other[k] == v for other in others)}
    texts = []
    notes = [note for row in rows for note in getattr(row, "notes", ())]
    for row, other, (_, row_texts, row_notes) in zip(rows, others, in_columns):
        own = {k: v for k, v in other.items() if k not in shared}
        notes += row_notes
        each = _sources(row.get(SOURCE) or "original", len(row_texts))
        texts += [Text(word, str(source) or "original", own) for word, source in zip(row_texts, each)]
    return texts, shared, tuple(notes)


def _sources(value: Any, count: int) -> list[Any]:
    """The sources of the texts of a row: one for all, or a list, which CSV has as JSON."""
    if isinstance(value, str) and value.startswith("["):
        with suppress(ValueError):
            value = json.loads(value)
    return value if isinstance(value, list) else [value] * count


def left(row: str) -> list[str]:
    """What is left of a row that cannot be read, as a text."""
    raw = getattr(row, "raw", "")
    return [raw] if raw else []


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


@dataclass(frozen=True)
class Style:
    """How rows are written: the columns of picture and text, the order of all columns, and, of columnar files, their kinds.

    lists: a row holds all texts of its picture. series: columns that hold one of these each.
    """

    image: str
    text: str
    order: tuple[str, ...] = ()
    schema: pa.Schema | None = None
    lists: bool = False
    series: tuple[str, ...] = ()

    @property
    def holds_bytes(self) -> bool:
        """Whether a picture is bytes in its row."""
        kind = None if self.schema is None else self.schema.field(self.image).type
        return kind is not None and (pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    def rows(self, pair: Pair, cell: Any) -> list[dict[str, Any]]:
        """The rows of a pair. cell: its picture: a name, or the object of bytes and path."""
        if self.series and not any(text.meta for text in pair.texts):
            rows = [self._in_series(pair, cell)]
            return [{**{k: row[k] for k in self.order if k in row}, **row} for row in rows]
        rows = rows_of(pair, {self.image: self._cell(cell)}, self.text)
        if self.lists and rows:
            others = [{k: v for k, v in row.items() if k not in (self.text, SOURCE)} for row in rows]
            texts, sources = [row[self.text] for row in rows], [row.get(SOURCE) for row in rows]
            if all(other == others[0] for other in others):
                whole = {**rows[0], self.text: [text for text in texts if text is not None]}
                rows = [{**whole, SOURCE: sources} if any(sources) else whole]
            else:
                rows = [
                    {**row, self.text: [] if row[self.text] is None else [row[self.text]]} for row in rows
                ]
        return [{**{k: row[k] for k in self.order if k in row}, **row} for row in rows]

    def _in_series(self, pair: Pair, cell: Any) -> dict[str, Any]:
        """The row of a pair with a text in each column of the series."""
        texts = {_columns.next_in(self.series, at): text.text for at, text in enumerate(pair.texts)}
        own = {self.image: self._cell(cell), **dict.fromkeys(self.series), **texts}
        sources = [text.source for text in pair.texts]
        own |= {SOURCE: sources} if set(sources) - {"original"} else {}
        return {**own, **pair.meta, **own}

    def _cell(self, cell: Any) -> Any:
        kind = None if self.schema is None else self.schema.field(self.image).type
        if kind is None or not (is_list(kind) or pa.types.is_struct(kind) or self.holds_bytes):
            return cell
        if self.holds_bytes:
            return cell["bytes"]
        cell = cell if isinstance(cell, dict) else {"bytes": None, "path": cell}
        return [cell] if is_list(kind) and pa.types.is_struct(kind.value_type) else cell


def style(file: Path, image: str, texts: Sequence[str]) -> Style:
    """How a table is written that was read from `file`, with these columns of pictures and texts."""
    names = _rows.columns(file)
    text = next((name for name in texts if name.lower() not in TURNS), "text")
    order = tuple(text if name in texts[:1] and text not in names else name for name in names)
    series = tuple(texts) if _columns.is_series(texts) else ()
    if not _columnar.is_columnar(file):
        return Style(image, text, order, series=series)
    schema = _columnar.schema(file)
    kind = schema.field(text).type if text in names else pa.string()
    of_text = kind.value_type if is_list(kind) or pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(of_text) or pa.types.is_large_string(of_text)):
        kind = pa.string()  # an object: only its text was read
    fields = [
        pa.field(name, kind) if name == text else schema.field(names[at]) for at, name in enumerate(order)
    ]
    schema = pa.schema(fields, described(schema.metadata, fields, schema))
    return Style(image, text, order, schema, is_list(kind), series)


def is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def described(
    metadata: dict[bytes, bytes] | None, fields: list[pa.Field], before: pa.Schema
) -> dict[bytes, bytes] | None:
    """A schema's metadata for these columns: datasets' features of the columns that are as before, and of strings. Without
    features where they cannot say what a new column is."""
    if not metadata or FEATURES not in metadata:
        return metadata
    others = {key: value for key, value in metadata.items() if key != FEATURES}
    try:
        known = json.loads(metadata[FEATURES])
        features = known["info"]["features"]
        now: dict[str, Any] = {}
        for field in fields:
            same = before.get_field_index(field.name) >= 0 and before.field(field.name).type == field.type
            if same:
                now |= {field.name: features[field.name]} if field.name in features else {}
            elif pa.types.is_string(field.type):
                now[field.name] = {"dtype": "string", "_type": "Value"}
            else:
                return others or None
        known["info"]["features"] = now
    except (ValueError, KeyError, TypeError):
        return others or None
    return {**others, FEATURES: json.dumps(known).encode()}


def write_part(out: Path, shard: str, name: str, rows: list[dict[str, Any]], style: Style) -> None:
    """A shard's rows as the part of the table file `name`."""
    if not _columnar.is_columnar(Path(name)):
        return _parts.write_lines(out, shard, rows)
    with atomic_write(_parts.part(out, shard, ".parquet"), replace=True) as file:
        pq.write_table(as_table(rows, style.schema), file)


def as_table(rows: list[dict[str, Any]], schema: pa.Schema | None = None) -> pa.Table:
    """A column for every field, in order of appearance; fields of mixed kinds as JSON text. schema: kinds to keep."""
    columns: dict[str, pa.Array] = {}
    names = [] if schema is None else schema.names
    for name in dict.fromkeys([*names, *(name for row in rows for name in row)]):
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(values, None if name not in names else schema.field(name).type)  # type: ignore[union-attr]
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            try:
                columns[name] = pa.array(values)
            except (pa.ArrowException, OverflowError, TypeError, ValueError):
                words = [
                    None if v is None else as_text(v).encode("utf-8", "replace").decode() for v in values
                ]
                columns[name] = pa.array(words, pa.string())
    if schema is None:
        return pa.table(columns)
    fields = [
        schema.field(name)
        if name in names and schema.field(name).type == array.type
        else pa.field(name, array.type)
        for name, array in columns.items()
    ]
    return pa.table(list(columns.values()), pa.schema(fields, described(schema.metadata, fields, schema)))


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
    kinds = {".csv": _join_csv, ".tsv": _join_csv, ".txt": _join_csv}
    kinds |= dict.fromkeys(_columnar.SUFFIXES, _join_columnar)
    kinds |= dict.fromkeys((".jsonl", ".ndjson", ".json"), _join_lines)
    for suffix, kind in kinds.items():
        chosen = [shard for shard in shards if _parts.target(shard, default)[0].lower().endswith(suffix)]
        kept = ".parquet" if suffix in _columnar.SUFFIXES else ".jsonl"
        _parts.merge(out, chosen, default, partial(kind, out), kept, _is_empty)


def _is_empty(part: Path) -> bool:
    """Whether a part has no rows."""
    return (pq.read_metadata(part).num_rows if part.suffix == ".parquet" else part.stat().st_size) == 0


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


def _join_columnar(out: Path, file: Path, shards: list[str]) -> None:
    parts = [_parts.part(out, shard, ".parquet") for shard in shards]
    schemas = [schema for schema in map(pq.read_schema, parts) if schema.names]
    if schemas and all(schema.equals(schemas[0], check_metadata=True) for schema in schemas):
        with atomic_write(file) as target, _columnar.writer(file, target, schemas[0]) as writer:
            for table in map(pq.read_table, parts):
                if table.num_rows:
                    writer.write_table(table)
        return
    kinds: dict[str, pa.DataType] = {}
    for field in (field for schema in schemas for field in schema):
        before = kinds.get(field.name, field.type)
        kinds[field.name] = (
            before if before == field.type or pa.types.is_null(field.type) else _wider(before, field.type)
        )
    schema = pa.schema(list(kinds.items()))
    with atomic_write(file) as target, _columnar.writer(file, target, schema) as writer:
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
