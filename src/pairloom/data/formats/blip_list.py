"""BLIP's training lists (Li et al. 2022): a JSON array of {"image": path, "caption": text or texts}.

Does not know: where BLIP's image root was: names are tried against the list's folder and those beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pairloom.data.formats import _columns, _files, _lists, _parts, _tables
from pairloom.data.formats._finder import Finder
from pairloom.data.formats._texts import pair_of
from pairloom.data.pair import Blob, Pair
from pairloom.data.shards import ColumnNames, Shard

CLAIM = (
    'BLIP list: JSON [{"image", "caption"}, ...] or [[name, caption], ...], also one a split under its key'
)
HOLDS = ("source", "meta")  # beyond image and texts
DEFAULT = "captions.json"


def _is_row(row: dict[str, Any], columns: ColumnNames = ColumnNames()) -> bool:
    names = list(row)
    is_results = "image_id" in row and "caption" in row and "image" not in row
    known = _columns.image_column(names, columns) is not None and bool(
        _columns.text_columns(names, columns)[0]
    )
    return known and not is_results and not isinstance(row.get("conversations"), list)


def sniff(path: Path, columns: ColumnNames = ColumnNames()) -> bool:
    """A JSON array whose first object has an image and a caption."""
    return _lists.fits(path, partial(_is_row, columns=columns), columns=columns)


def shards(path: Path, columns: ColumnNames = ColumnNames()) -> list[Shard]:
    """Spans of the array; the rows of one image stay together."""
    test = partial(_is_row, columns=columns)
    return _lists.shards(path, "blip_list", test, group=columns.image or "image", columns=columns)


def read(shard: Shard) -> Iterator[Pair]:
    """One pair an image: its neighbouring rows are its texts."""
    finder = Finder(shard.root, shard.file)
    for number, rows in enumerate(
        _tables.grouped(_lists.rows(shard), lambda row: _tables.word(_image(row, shard.columns)))
    ):
        known = f"{shard.name}:{number}"
        if isinstance(rows[0], str):
            yield pair_of(known, Blob(), _tables.left(rows[0]), problem=rows[0])
            continue
        name = _tables.word(_image(rows[0], shard.columns))
        blob, problem, notes = finder.find(name or _image(rows[0], shard.columns))
        names = list(dict.fromkeys(name for row in rows for name in row))
        columns, image = (
            _columns.text_columns(names, shard.columns)[0],
            _columns.image_column(names, shard.columns),
        )
        texts, meta, more = _tables.words(rows, columns, (image or "image",))
        known = name or known if problem else _files.split(blob.name)[0]
        yield pair_of(known, blob, texts, meta, problem, notes=(*notes, *more))


def _image(row: dict[str, Any], columns: ColumnNames) -> Any:
    """What a row says of its picture: a path, also as the only one of a list or in an object."""
    name = _columns.image_column(list(row), columns)
    return row.get(name) if name is not None else None


def write(out: Path, shard: str, pairs: Iterable[Pair], like: Shard | None = None) -> None:
    """Images linked (or copied) and the shard's rows, one a text as in BLIP's lists."""
    image, text = "image", "caption"
    series: tuple[str, ...] = ()
    names = _lists.order(like, "blip_list")
    if like is not None and names:
        image = _columns.image_column(names, like.columns) or image
        texts = _columns.text_columns(names, like.columns)[0]
        text = next((name for name in texts if name not in _tables.TURNS), text)
        series = texts if _columns.is_series(texts) else ()
    style = _tables.Style(image, text, tuple(names), series=series)
    rows: list[dict[str, Any]] = []
    for pair, name in _lists.store(out, list(pairs)):
        rows += style.rows(pair, name)
    _parts.write_lines(out, shard, rows)


def finish(out: Path, shards: list[str]) -> None:
    """Merge the parts into the list."""
    _lists.finish(out, shards, DEFAULT)
