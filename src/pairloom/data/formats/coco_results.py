"""COCO caption results (Chen et al. 2015): a JSON array of {"image_id", "caption"}, what evaluation servers take.

Does not know: annotations: an id is found as an image's file name (000000000042.jpg, COCO_val2014_..., or the id itself).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pairloom.data.formats import _files, _lists, _parts, _tables
from pairloom.data.formats._finder import Finder, Picture, missing
from pairloom.data.formats._texts import pair_of
from pairloom.data.pair import Blob, Pair
from pairloom.data.shards import ColumnNames, Shard

CLAIM = 'COCO results JSON: [{"image_id", "caption"}, ...]'
HOLDS = ("source", "meta")  # beyond image and texts
DEFAULT = "results.json"
SPLITS = ("train2014", "val2014", "test2014", "test2015")


def _is_row(row: dict[str, Any]) -> bool:
    return "image_id" in row and "caption" in row and "image" not in row


def sniff(path: Path, columns: ColumnNames = ColumnNames()) -> bool:
    """A JSON array whose first object has an image_id and a caption."""
    return _lists.fits(path, _is_row, columns=columns)


def shards(path: Path, columns: ColumnNames = ColumnNames()) -> list[Shard]:
    """Spans of the array; the rows of one image stay together."""
    return _lists.shards(path, "coco_results", _is_row, group="image_id", columns=columns)


def read(shard: Shard) -> Iterator[Pair]:
    """One pair an image: its neighbouring rows are its texts."""
    finder = Finder(shard.root, shard.file)
    for number, rows in enumerate(_tables.grouped(_lists.rows(shard), lambda row: _id(row.get("image_id")))):
        if isinstance(rows[0], str):
            yield pair_of(f"{shard.name}:{number}", Blob(), _tables.left(rows[0]), problem=rows[0])
            continue
        image_id = _id(rows[0].get("image_id"))
        known = f"{shard.name}:{number}" if image_id is None else str(image_id)
        blob, problem, notes = _find(finder, image_id)
        texts, meta, more = _tables.words(rows, ("caption",), ())
        yield pair_of(known, blob, texts, meta, problem, notes=(*notes, *more))


def _id(value: Any) -> int | str | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, (int, str)) and value != "" else None


def _find(finder: Finder, image_id: int | str | None) -> Picture:
    """The picture that goes by an id, under the first kind of name that is there."""
    if image_id is None:
        return Blob(), missing(None), ()
    for names in _names(image_id):
        hits = dict.fromkeys(path for name in names for path in finder.hits(name))
        if len(hits) > 1:
            shown = ", ".join(path.name for path in hits)
            return Blob(), f"no image: several pictures go by {image_id!r}: {shown}", ()
        if hits:
            return finder.find(next(name for name in names if finder.hits(name)))
    return finder.find(str(image_id))


def _names(image_id: int | str) -> list[list[str]]:
    """The file names that an id may stand for: those of one list are of one kind."""
    word = str(image_id)
    kinds = [[word]]
    if word.isdecimal() and len(word) <= 12:
        number = f"{int(word):012d}"
        kinds = [[number], [f"COCO_{split}_{number}" for split in SPLITS], [word]]
    names = [
        [stem + suffix for stem in stems for suffix in (".jpg", ".png", ".jpeg", ".webp")] for stems in kinds
    ]
    return [*names, [word]] if _files.is_image(word) else names


def write(out: Path, shard: str, pairs: Iterable[Pair], like: Shard | None = None) -> None:
    """Images linked (or copied) and the shard's rows. The id is the set's own where the image goes by it, else the number
    that COCO's name ends in, else the whole file name.
    """
    rows: list[dict[str, Any]] = []
    order = _lists.order(like, "coco_results")
    for pair, name in _lists.store(out, list(pairs)):
        last = name.rpartition("/")[2]
        number = re.fullmatch(r"(?:COCO_\w+_)?(\d{12})", _files.split(last)[0])
        known = [_id(pair.meta.get(field)) for field in ("image_id", "id")]
        own = [
            image_id
            for image_id in known
            if image_id is not None and any(last in names for names in _names(image_id))
        ]
        image_id = own[0] if own else int(number[1]) if number else name
        rows += _tables.rows_of(pair, {"image_id": image_id}, "caption")
    _parts.write_lines(out, shard, [_parts.in_order(row, order) for row in rows])


def finish(out: Path, shards: list[str]) -> None:
    """Merge the parts into the list."""
    _lists.finish(out, shards, DEFAULT)
