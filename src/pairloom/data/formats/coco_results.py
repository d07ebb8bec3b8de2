"""COCO caption results (Chen et al. 2015): a JSON array of {"image_id", "caption"}, what evaluation servers take.

Does not know: annotations: an id is found as an image's file name (000000000042.jpg, COCO_val2014_..., or the id itself).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pairloom.data.formats import _files, _lists, _parts, _tables
from pairloom.data.formats._texts import pair_of
from pairloom.data.pair import Blob, Pair
from pairloom.data.shards import Shard

CLAIM = 'COCO results JSON: [{"image_id", "caption"}, ...]'
HOLDS = ("source", "meta")  # beyond image and texts
DEFAULT = "results.json"
SPLITS = ("train2014", "val2014", "test2014", "test2015")


def _is_row(row: dict[str, Any]) -> bool:
    return "image_id" in row and "caption" in row and "image" not in row


def sniff(path: Path) -> bool:
    """A JSON array whose first object has an image_id and a caption."""
    return _lists.fits(path, _is_row)


def shards(path: Path) -> list[Shard]:
    """Spans of the array; the rows of one image stay together."""
    return _lists.shards(path, "coco_results", _is_row, group="image_id")


def read(shard: Shard) -> Iterator[Pair]:
    """One pair an image: its neighbouring rows are its texts."""
    finder = _files.Finder(shard.root, shard.file)
    for number, rows in enumerate(_tables.grouped(_lists.rows(shard), lambda row: _id(row.get("image_id")))):
        if isinstance(rows[0], str):
            yield pair_of(f"{shard.name}:{number}", Blob(), [], problem=rows[0])
            continue
        image_id = _id(rows[0].get("image_id"))
        blob = _find(finder, image_id) if image_id is not None else None
        texts, meta = _tables.words(rows, "caption", ())
        known = f"{shard.name}:{number}" if image_id is None else str(image_id)
        yield pair_of(known, blob or Blob(), texts, meta, "" if blob else _files.missing(known))


def _id(value: Any) -> int | str | None:
    return value if isinstance(value, (int, str)) and value != "" else None


def _find(finder: _files.Finder, image_id: int | str) -> Blob | None:
    return next((blob for name in _names(image_id) if (blob := finder.blob(name))), None)


def _names(image_id: int | str) -> list[str]:
    """The file names that an id may stand for."""
    word = str(image_id)
    stems = [word]
    if word.isdecimal() and len(word) <= 12:
        stems = [f"{int(word):012d}", *(f"COCO_{split}_{int(word):012d}" for split in SPLITS), word]
    names = [stem + suffix for stem in stems for suffix in (".jpg", ".png", ".jpeg", ".webp")]
    return [*names, word] if _files.is_image(word) else names


def write(out: Path, shard: str, pairs: Iterable[Pair]) -> None:
    """Images linked (or copied) and the shard's rows. The id is the set's own where the image goes by it, else the number
    that COCO's name ends in, else the whole file name.
    """
    rows: list[dict[str, Any]] = []
    for pair, name in _lists.store(out, list(pairs)):
        last = name.rpartition("/")[2]
        number = re.fullmatch(r"(?:COCO_\w+_)?(\d{12})", _files.split(last)[0])
        known = [_id(pair.meta.get(field)) for field in ("image_id", "id")]
        own = [image_id for image_id in known if image_id is not None and last in _names(image_id)]
        image_id = own[0] if own else int(number[1]) if number else name
        rows += _tables.rows_of(pair, {"image_id": image_id}, "caption")
    _parts.write_lines(out, shard, rows)


def finish(out: Path, shards: list[str]) -> None:
    """Merge the parts into the list."""
    _lists.finish(out, shards, DEFAULT)
