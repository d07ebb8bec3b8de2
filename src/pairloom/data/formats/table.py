"""Tables (parquet, CSV, TSV, JSON lines) with a column for the image, as a path or as its bytes, and one for the text.

Does not know: pixels. Web addresses are never fetched. Columns are written back as `image` (bytes) or `file_name`, `text`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pairloom.data.formats import _files, _look, _parts, _rows, _tables
from pairloom.data.formats._texts import pair_of
from pairloom.data.pair import Blob, Pair
from pairloom.data.shards import Shard
from pairloom.errors import Mistake

CLAIM = "table (parquet, CSV, TSV, JSONL) with image path or bytes, and text or caption"
HOLDS = ("source", "meta")  # beyond image and texts
DEFAULT = "table.parquet"
NAMES = (
    "file_name",
    "filename",
    "image_path",
    "path",
    "name",
    "id",
    "uid",
    "key",
)  # what a row with bytes is called by


def sniff(path: Path) -> bool:
    """A table with both columns, or a folder with one; metadata files are imagefolder's."""
    mark = _look.marker(path)
    return mark is not None and _is_table(mark)


def _is_table(path: Path) -> bool:
    return _files.split(path.name)[1] in _look.TABLES and _look.is_table(path) and not _look.is_metadata(path)


def shards(path: Path) -> list[Shard]:
    """Spans of each table's rows; the rows of one image path stay together."""
    root = path.parent if path.is_file() else path
    shard_list = []
    for file in filter(_is_table, _look.markers(path)):
        column = _look.column(_rows.columns(file), _look.IMAGE_COLUMNS)
        if column is None:
            do = "Fetch the images first (img2dataset makes tars of them), then give the result."
            raise Mistake(f"{file} holds web addresses, no images.", "pairloom fetches nothing.", do)
        for number, (start, stop, part) in enumerate(_rows.spans(file, column)):
            name = f"{_look.label(root, file)}-{number:05d}"
            shard_list.append(Shard(name, "table", root, file, start, stop, part))
    return shard_list


def read(shard: Shard) -> Iterator[Pair]:
    """One pair an image: neighbouring rows of one path, or of the same bytes and name, are its texts."""
    names = _rows.columns(shard.file)
    image, text = _look.column(names, _look.IMAGE_COLUMNS), _look.column(names, _look.TEXT_COLUMNS)
    assert image is not None
    finder = _files.Finder(shard.root, shard.file)
    rows = _rows.rows(shard.file, shard.start, shard.stop, shard.part)
    for number, group in enumerate(_tables.grouped(rows, lambda row: _which(row.get(image)))):
        known = f"{shard.name}:{number}"
        if isinstance(group[0], str):
            yield pair_of(known, Blob(), [], problem=group[0])
            continue
        blob, problem = _blob(finder, group[0], image)
        texts, meta = _tables.words(group, text, (image,))
        yield pair_of(_files.split(blob.name)[0] or known, blob, texts, meta, problem)


def _which(value: Any) -> object:
    """What tells the picture of a row from its neighbour's."""
    data, name = _cell(value)
    return (data, name) if data or name else None


def _cell(value: Any) -> tuple[bytes | None, str | None]:
    """Bytes and name in an image cell: bytes, a path, or datasets' {"bytes", "path"}."""
    if isinstance(value, dict):
        data = value.get("bytes")
        return data if isinstance(data, bytes) else None, _tables.word(value.get("path"))
    if isinstance(value, bytes):
        return value, None
    return None, _tables.word(value)


def _blob(finder: _files.Finder, row: dict[str, Any], image: str) -> tuple[Blob, str]:
    """The row's image and what is wrong with it."""
    data, name = _cell(row[image])
    if data is None and name is not None and len(name) > 200 and not _files.is_image(name):
        try:  # VLMEvalKit's TSVs carry base64
            data, name = base64.b64decode(name, validate=True), None
        except (binascii.Error, ValueError):
            pass
    if data is not None:
        others = (_tables.word(row.get(other)) for other in NAMES if other != image)
        known = _files.safe(name or next(filter(None, others), ""))
        return Blob(
            data=data, name=known if _files.is_image(known) or not known else known + _files.suffix_of(data)
        ), ""
    blob = finder.blob(name) if name else None
    return blob or Blob(), "" if blob else _files.missing(name)


def write(out: Path, shard: str, pairs: Iterable[Pair]) -> None:
    """The shard's rows. In parquet pictures that were bytes stay bytes; all others are linked or copied beside the table."""
    file, _ = _parts.target(shard, DEFAULT)
    kept = [pair for pair in pairs if pair.image_key]
    beside = [pair for pair in kept if not file.endswith(".parquet") or _files.is_file(pair.image)]
    out_of_row = set(map(id, beside))
    names = _files.Names()
    columns = {
        id(pair): names.give(_files.image_name(pair), pair.image_key, pair.image_key[:10]) for pair in kept
    }
    _files.place_images(out, beside, [columns[id(pair)] for pair in beside])
    rows: list[dict[str, Any]] = []
    for pair in kept:
        cell: Any = columns[id(pair)]
        if len(beside) < len(
            kept
        ):  # a column has one kind of cell: datasets' struct where one picture is bytes
            cell = {"bytes": None if id(pair) in out_of_row else pair.image.read(), "path": cell}
        rows += _tables.rows_of(pair, {"image": cell}, "text")
    _tables.write_part(out, shard, file, rows)


def finish(out: Path, shards: list[str]) -> None:
    """Merge the parts into the tables."""
    _tables.join(out, shards, DEFAULT)
