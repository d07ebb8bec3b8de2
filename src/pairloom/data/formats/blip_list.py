"""BLIP's training lists (Li et al. 2022): a JSON array of {"image": path, "caption": text or texts}.

Does not know: where BLIP's image root was: names are tried against the list's folder and those beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pairloom.data.formats import _files, _lists, _look, _parts, _tables
from pairloom.data.formats._texts import pair_of
from pairloom.data.pair import Blob, Pair
from pairloom.data.shards import Shard

CLAIM = 'BLIP list: JSON [{"image", "caption"}, ...]'
HOLDS = ("source", "meta")  # beyond image and texts
DEFAULT = "captions.json"


def _is_row(row: dict[str, Any]) -> bool:
    return "image" in row and any(name in row for name in _look.TEXT_COLUMNS) and "conversations" not in row


def sniff(path: Path) -> bool:
    """A JSON array whose first object has an image and a caption."""
    return _lists.fits(path, _is_row)


def shards(path: Path) -> list[Shard]:
    """Spans of the array; the rows of one image stay together."""
    return _lists.shards(path, "blip_list", _is_row, group="image")


def read(shard: Shard) -> Iterator[Pair]:
    """One pair an image: its neighbouring rows are its texts."""
    finder = _files.Finder(shard.root, shard.file)
    for number, rows in enumerate(
        _tables.grouped(_lists.rows(shard), lambda row: _tables.word(row.get("image")))
    ):
        known = f"{shard.name}:{number}"
        if isinstance(rows[0], str):
            yield pair_of(known, Blob(), [], problem=rows[0])
            continue
        name = _tables.word(rows[0].get("image"))
        blob = finder.blob(name) if name else None
        text = _look.column(list(rows[0]), _look.TEXT_COLUMNS)
        texts, meta = _tables.words(rows, text, ("image",))
        known = _files.split(blob.name)[0] if blob else name or known
        yield pair_of(
            known, blob or Blob(), texts, meta, "" if blob else _files.missing(rows[0].get("image"))
        )


def write(out: Path, shard: str, pairs: Iterable[Pair]) -> None:
    """Images linked (or copied) and the shard's rows, one a text as in BLIP's lists."""
    rows: list[dict[str, Any]] = []
    for pair, name in _lists.store(out, list(pairs)):
        rows += _tables.rows_of(pair, {"image": name}, "caption")
    _parts.write_lines(out, shard, rows)


def finish(out: Path, shards: list[str]) -> None:
    """Merge the parts into the list."""
    _lists.finish(out, shards, DEFAULT)
