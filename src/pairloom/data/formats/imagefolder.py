"""Hugging Face imagefolder: images beside a `metadata.csv`, `.jsonl` or `.parquet` with `file_name` and a text column.

Does not know: pixels. CSV holds words only: metadata of other kinds comes back from it as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pairloom.data.formats import _columns, _files, _look, _parts, _rows, _tables
from pairloom.data.formats._finder import Finder
from pairloom.data.formats._texts import pair_of
from pairloom.data.pair import Blob, Pair
from pairloom.data.shards import ColumnNames, Shard

CLAIM = "Hugging Face imagefolder: metadata.csv, .jsonl or .parquet with file_name and text"
HOLDS = ("source", "meta")  # beyond image and texts
DEFAULT = "metadata.csv"


def sniff(path: Path, columns: ColumnNames = ColumnNames()) -> bool:
    """A metadata file, or a folder with one (itself, or its folders)."""
    mark = _look.marker(path, columns)
    return mark is not None and _look.is_metadata(mark, columns)


def shards(path: Path, columns: ColumnNames = ColumnNames()) -> list[Shard]:
    """Spans of a metadata file's rows; the rows of one picture stay together."""
    root = path.parent if path.is_file() else path
    shard_list = []
    for file in _look.of_format(path, columns, partial(_look.is_metadata, columns=columns)):
        column = _columns.column(_rows.columns(file), (columns.image or "file_name",))
        _columns.demand_columns(file, columns)
        for number, (start, stop, part) in enumerate(_rows.spans(file, column)):
            name = f"{_look.label(root, file)}-{number:05d}"
            shard_list.append(Shard(name, "imagefolder", root, file, start, stop, part))
    return shard_list


def read(shard: Shard) -> Iterator[Pair]:
    """One pair a picture: its neighbouring rows are its texts."""
    names = _rows.columns(shard.file)
    image = _columns.column(names, (shard.columns.image or "file_name",))
    columns = _columns.text_columns(names, shard.columns)[0]
    assert image is not None
    finder = Finder(shard.root, shard.file)
    rows = _rows.rows(shard.file, shard.start, shard.stop, shard.part)
    for number, group in enumerate(_tables.grouped(rows, lambda row: _tables.word(row.get(image)))):
        known = f"{shard.name}:{number}"
        if isinstance(group[0], str):
            yield pair_of(known, Blob(), _tables.left(group[0]), problem=group[0])
            continue
        name = _tables.word(group[0].get(image))
        blob, problem, notes = finder.find(name or group[0].get(image))
        texts, meta, more = _tables.words(group, columns, (image,))
        known = _files.split(_files.readable(name))[0] if name else known
        yield pair_of(known, blob, texts, meta, problem, notes=(*notes, *more))


def write(out: Path, shard: str, pairs: Iterable[Pair], like: Shard | None = None) -> None:
    """Images linked (or copied) and the shard's part of the metadata. Pairs without a readable image are left out."""
    table, _ = _parts.target(shard, DEFAULT)
    folder = table.rpartition("/")[0]
    inside = f"{folder}/" if folder else ""
    kept = [pair for pair in pairs if pair.image_key]
    names, image_names = _files.Names(), []
    for pair in kept:
        wanted = _files.image_name(pair).removeprefix(inside)
        image_names.append(names.give(wanted, pair.image_key, pair.image_key[:10]))
    _files.place_images(out, kept, [inside + name for name in image_names])
    style = _tables.Style("file_name", "text")
    if like is not None and like.format == "imagefolder":
        columns = _rows.columns(like.file)
        image = _columns.column(columns, (like.columns.image or "file_name",)) or "file_name"
        style = _tables.style(like.file, image, _columns.text_columns(columns, like.columns)[0])
    rows: list[dict[str, Any]] = []
    for pair, name in zip(kept, image_names):
        rows += style.rows(pair, name)
    _tables.write_part(out, shard, table, rows, style)


def finish(out: Path, shards: list[str]) -> None:
    """Merge the parts into the metadata files."""
    _tables.join(out, shards, DEFAULT)
