"""Tables (parquet, CSV, TSV, JSON lines) with a column for the image, as a path or as its bytes, and one for the text.

Does not know: pixels. Web addresses are never fetched. Columns are written back with their names, order and kinds.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pairloom.data.formats import _columnar, _columns, _files, _look, _parts, _rows, _saved, _tables
from pairloom.data.formats._finder import Finder, Picture
from pairloom.data.formats._texts import pair_of
from pairloom.data.pair import Blob, Pair
from pairloom.data.shards import ColumnNames, Shard
from pairloom.errors import Mistake

CLAIM = "table (parquet, Arrow, CSV, TSV, JSONL) with image path or bytes, and text or caption"
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

_DATA_ADDRESS = re.compile(r"data:image/[\w.+-]+;base64,")


def sniff(path: Path, columns: ColumnNames = ColumnNames()) -> bool:
    """A table with both columns, or a folder with one; metadata files are imagefolder's."""
    mark = _look.marker(path, columns)
    return mark is not None and _is_table(mark, columns)


def _is_table(path: Path, columns: ColumnNames) -> bool:
    return _look.is_table(path, columns) and not _look.is_metadata(path, columns)


def shards(path: Path, columns: ColumnNames = ColumnNames()) -> list[Shard]:
    """Spans of each table's rows; the rows of one image path stay together."""
    root = path.parent if path.is_file() else path
    shard_list = []
    for file in _look.of_format(path, columns, partial(_is_table, columns=columns)):
        _columns.demand_columns(file, columns)
        column = _columns.resolved(file, columns).image
        if column is None:
            do = "Fetch the images first (img2dataset makes tars of them), then give the result."
            raise Mistake(f"{file} holds web addresses, no images.", "pairloom fetches nothing.", do)
        for number, (start, stop, part) in enumerate(_rows.spans(file, column)):
            name = f"{_look.label(root, file)}-{number:05d}"
            shard_list.append(Shard(name, "table", root, file, start, stop, part))
    return shard_list


def read(shard: Shard) -> Iterator[Pair]:
    """One pair an image: neighbouring rows of one path, or of the same bytes and name, are its texts."""
    known = _columns.resolved(shard.file, shard.columns)
    image = known.image
    assert image is not None
    finder = Finder(shard.root, shard.file)
    rows = _rows.rows(shard.file, shard.start, shard.stop, shard.part)
    for number, group in enumerate(_tables.grouped(rows, lambda row: _which(row.get(image)))):
        name = f"{shard.name}:{number}"
        if isinstance(group[0], str):
            yield pair_of(name, Blob(), _tables.left(group[0]), problem=group[0])
            continue
        blob, problem, notes = _blob(finder, group[0], image)
        texts, meta, more = _tables.words(group, known.texts, (image,))
        yield pair_of(_files.split(blob.name)[0] or name, blob, texts, meta, problem, notes=(*notes, *more))


def _which(value: Any) -> object:
    """What tells the picture of a row from its neighbour's."""
    data, name = _cell(value)
    return (data, name) if data or name else None


def _cell(value: Any) -> tuple[bytes | None, str | None]:
    """Bytes and name in an image cell: bytes, a path, datasets' {"bytes", "path"}, or a list with one of them."""
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        data = value.get("bytes")
        return data if isinstance(data, bytes) else None, _tables.word(value.get("path"))
    if isinstance(value, bytes):
        return value, None
    return None, _tables.word(value)


def _blob(finder: Finder, row: dict[str, Any], image: str) -> Picture:
    """The row's image, what is wrong with it, and what was done to find it."""
    data, name = _cell(row[image])
    if data is None and name is not None and len(name) > 200 and not _files.is_image(name):
        try:  # VLMEvalKit's TSVs carry base64, and pages "data:image/png;base64,..."
            data, name = base64.b64decode(_DATA_ADDRESS.sub("", name, count=1), validate=True), None
        except (binascii.Error, ValueError):
            pass
    if data is not None:
        others = (_tables.word(row.get(other)) for other in NAMES if other != image)
        known = _files.safe(name or next(filter(None, others), ""))
        known = known if _files.is_image(known) or not known else known + _files.suffix_of(data)
        return Blob(data=data, name=known), "", ()
    return finder.find(name or row[image])


def write(out: Path, shard: str, pairs: Iterable[Pair], like: Shard | None = None) -> None:
    """The shard's rows. In columnar files pictures that were bytes stay bytes; all others are linked or copied beside the table."""
    file, _ = _parts.target(shard, DEFAULT)
    style = _style(like)
    kept = [pair for pair in pairs if pair.image_key]
    holds_bytes = _columnar.is_columnar(Path(file))  # all other tables name their pictures
    in_row = holds_bytes and style.holds_bytes
    beside = [pair for pair in kept if not holds_bytes or (not in_row and _files.is_file(pair.image))]
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
        rows += style.rows(pair, cell)
    _tables.write_part(out, shard, file, rows, style)


def _style(like: Shard | None) -> _tables.Style:
    """How the table of a shard is written: as the one that it was read from."""
    if like is None or like.format != "table":
        return _tables.Style("image", "text")
    known = _columns.resolved(like.file, like.columns)
    return _tables.style(like.file, known.image or "image", known.texts)


def finish(out: Path, shards: list[str]) -> None:
    """Merge the parts into the tables; beside Arrow files comes what `datasets` reads them by."""
    _tables.join(out, shards, DEFAULT)
    files = {_parts.target(shard, DEFAULT)[0] for shard in shards}
    _saved.write(out, (name for name in files if name.lower().endswith(".arrow")))
