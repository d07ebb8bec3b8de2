"""Formats that are one JSON array: listing them in spans, reading rows, merging written parts.

Does not know: what a row holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pairloom.data.disk import atomic_write
from pairloom.data.formats import _files, _json, _look, _parts
from pairloom.data.pair import Pair
from pairloom.data.shards import ColumnNames, Shard


def fits(
    path: Path, test: Callable[[dict[str, Any]], bool], key: str = "", columns: ColumnNames = ColumnNames()
) -> bool:
    """Whether the set's marker is a JSON file whose array `key` opens with an object that passes the test; "": the file itself, or
    any array of it ({"train": [...], "val": [...]})."""
    mark = _look.marker(path, columns)
    return mark is not None and mark.suffix == ".json" and bool(_arrays(mark, test, key))


def _arrays(file: Path, test: Callable[[dict[str, Any]], bool], key: str) -> list[str]:
    """The arrays of a file whose first object passes the test."""
    first = {key: _json.peek(file).get(key)} if key else _json.row_arrays(_json.peek(file))
    return [name for name, row in first.items() if row is not None and test(row)]


def shards(
    path: Path,
    format: str,
    test: Callable[[dict[str, Any]], bool],
    key: str = "",
    group: str | None = None,
    columns: ColumnNames = ColumnNames(),
) -> list[Shard]:
    """Spans of every such file of the set; neighbours with the same value under `group` stay together."""
    root = path.parent if path.is_file() else path
    shard_list = []
    for file in _look.of_format(
        path, columns, lambda file: file.suffix == ".json" and bool(_arrays(file, test, key))
    ):
        arrays = _arrays(file, test, key)
        spans = [(name, *span) for name in arrays for span in _json.spans(file, name, group)]
        for number, (name, start, stop) in enumerate(spans):
            part = name if len(arrays) > 1 else ""
            shard_list.append(
                Shard(f"{_look.label(root, file)}-{number:05d}", format, root, file, start, stop, part)
            )
    return shard_list


def rows(shard: Shard) -> Iterator[dict[str, Any] | str]:
    """The rows of a shard; what is no object is a string that says so. Of several arrays of a file each is a split."""
    of_array = {"split": shard.part} if shard.part else {}
    for row in _json.rows(shard.file, shard.start, shard.stop):
        yield {**of_array, **row} if isinstance(row, dict) else "row is not a JSON object"


def order(like: Shard | None, format: str, key: str = "") -> list[str]:
    """The fields of the rows of a file that a shard of this format was read from, in order; none without one."""
    if like is None or like.format != format:
        return []
    first = _json.peek(like.file)
    return list(first.get(key) or next(iter(_json.row_arrays(first).values()), {}))


def store(out: Path, pairs: list[Pair]) -> list[tuple[Pair, str]]:
    """Store the images of a shard's pairs (those without a readable one are left out); each with its name."""
    kept = [pair for pair in pairs if pair.image_key]
    names = _files.Names()
    image_names = [names.give(_files.image_name(pair), pair.image_key, pair.image_key[:10]) for pair in kept]
    _files.place_images(out, kept, image_names)
    return list(zip(kept, image_names))


def finish(out: Path, shards: list[str], default: str) -> None:
    """Merge the parts into one array a file."""

    def join(file: Path, members: list[str]) -> None:
        with atomic_write(file) as target:
            _parts.write_array(target, _parts.lines(out, members))

    _parts.merge(out, shards, default, join)
