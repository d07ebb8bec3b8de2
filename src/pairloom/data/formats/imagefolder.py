"""Hugging Face imagefolder: images beside a `metadata.csv`, `.jsonl` or `.parquet` with `file_name` and a text column.

Does not know: pixels. CSV holds words only: metadata of other kinds comes back from it as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pairloom.data.formats import _files, _look, _parts, _rows, _tables
from pairloom.data.formats._texts import pair_of
from pairloom.data.pair import Blob, Pair
from pairloom.data.shards import Shard

CLAIM = "Hugging Face imagefolder: metadata.csv, .jsonl or .parquet with file_name and text"
HOLDS = ("source", "meta")  # beyond image and texts
DEFAULT = "metadata.csv"


def sniff(path: Path) -> bool:
    """A metadata file, or a folder with one (itself, or its folders)."""
    mark = _look.marker(path)
    return mark is not None and _look.is_metadata(mark)


def shards(path: Path) -> list[Shard]:
    """Spans of a metadata file's rows; the rows of one picture stay together."""
    root = path.parent if path.is_file() else path
    shard_list = []
    for file in filter(_look.is_metadata, _look.markers(path)):
        column = _look.column(_rows.columns(file), ("file_name",))
        for number, (start, stop, part) in enumerate(_rows.spans(file, column)):
            name = f"{_look.label(root, file)}-{number:05d}"
            shard_list.append(Shard(name, "imagefolder", root, file, start, stop, part))
    return shard_list


def read(shard: Shard) -> Iterator[Pair]:
    """One pair a picture: its neighbouring rows are its texts."""
    names = _rows.columns(shard.file)
    image, text = _look.column(names, ("file_name",)), _look.column(names, _look.TEXT_COLUMNS)
    assert image is not None
    finder = _files.Finder(shard.root, shard.file)
    rows = _rows.rows(shard.file, shard.start, shard.stop, shard.part)
    for number, group in enumerate(_tables.grouped(rows, lambda row: _tables.word(row.get(image)))):
        known = f"{shard.name}:{number}"
        if isinstance(group[0], str):
            yield pair_of(known, Blob(), [], problem=group[0])
            continue
        name = _tables.word(group[0].get(image))
        blob = finder.blob(name) if name else None
        texts, meta = _tables.words(group, text, (image,))
        known = _files.split(_files.readable(name))[0] if name else known
        yield pair_of(known, blob or Blob(), texts, meta, "" if blob else _files.missing(name))


def write(out: Path, shard: str, pairs: Iterable[Pair]) -> None:
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
    rows: list[dict[str, Any]] = []
    for pair, name in zip(kept, image_names):
        rows += _tables.rows_of(pair, {"file_name": name}, "text")
    _tables.write_part(out, shard, table, rows)


def finish(out: Path, shards: list[str]) -> None:
    """Merge the parts into the metadata files."""
    _tables.join(out, shards, DEFAULT)
