"""JSON maps from pictures to their captions: {"a.jpg": "a dog"}, {"a.jpg": ["a dog", "the dog"]}, {"a.jpg": {"caption": "a dog"}}.

The last is what kohya's trainers read. Does not know: pixels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pairloom.data.disk import atomic_write
from pairloom.data.formats import _columns, _files, _json, _lists, _look, _parts
from pairloom.data.formats._finder import Finder
from pairloom.data.formats._texts import pair_of, texts_in
from pairloom.data.pair import Pair, Text
from pairloom.data.shards import ColumnNames, Shard

CLAIM = 'JSON map of captions: {"a.jpg": "caption" or [captions] or {"caption"}}, also under a key'
HOLDS = ("source", "meta")  # beyond image and texts
DEFAULT = "captions.json"
SOURCES = "caption_sources"  # the field of an entry's sources, written where one is not original
PATH, VALUE = "image", "value"  # of an entry, in a shard's part


def sniff(path: Path, columns: ColumnNames = ColumnNames()) -> bool:
    """A JSON object whose keys are names of pictures."""
    mark = _look.marker(path, columns)
    return mark is not None and _look.is_map(mark)


def shards(path: Path, columns: ColumnNames = ColumnNames()) -> list[Shard]:
    """Spans of the entries."""
    root = path.parent if path.is_file() else path
    return [
        Shard(f"{_look.label(root, file)}-{number:05d}", "caption_map", root, file, start, stop)
        for file in _look.of_format(path, columns, _look.is_map)
        for number, (start, stop) in enumerate(_json.entry_spans(file, _look.map_within(file) or ""))
    ]


def read(shard: Shard) -> Iterator[Pair]:
    """One pair an entry."""
    finder = Finder(shard.root, shard.file)
    for name, value in _json.rows_of_entries(shard.file, shard.start, shard.stop):
        blob, problem, notes = finder.find(name)
        meta: dict[str, Any] = {}
        sources: Any = None
        if isinstance(value, dict):
            fields, words, more = _columns.texts_of(value, shard.columns)
            sources = value.get(SOURCES)
            meta = {key: one for key, one in value.items() if key not in (*fields, SOURCES)}
        else:
            words, more = texts_in(value)
        each = (
            sources if isinstance(sources, list) and len(sources) == len(words) else ["original"] * len(words)
        )
        texts = [Text(word, str(source)) for word, source in zip(words, each)]
        known = _files.split(blob.name)[0] if blob.name else _files.split(_files.readable(name))[0]
        yield pair_of(known, blob, texts, meta, problem, notes=(*notes, *more))


def write(out: Path, shard: str, pairs: Iterable[Pair], like: Shard | None = None) -> None:
    """Images linked (or copied) and the shard's entries: texts alone, or an object where there is more to say."""
    field = _field(like)
    rows: dict[str, dict[str, Any]] = {}
    for pair, name in _lists.store(out, list(pairs)):
        row = rows.setdefault(name, {PATH: name, "meta": {}, "texts": [], SOURCES: []})  # a key stands once
        row["meta"] |= pair.meta
        row["texts"] += [text.text for text in pair.texts]
        row[SOURCES] += [text.source for text in pair.texts]
    _parts.write_lines(out, shard, [_entry(row, field) for row in rows.values()])


def _entry(row: dict[str, Any], field: str) -> dict[str, Any]:
    """The entry of a picture: its texts alone, or in a field of an object where there is more to say."""
    value: Any = row["texts"][0] if len(row["texts"]) == 1 else row["texts"]
    sources = {SOURCES: row[SOURCES]} if set(row[SOURCES]) - {"original"} else {}
    if row["meta"] or sources or field:
        value = {**row["meta"], field or "caption": value, **sources}
    return {PATH: row[PATH], VALUE: value}


def _field(like: Shard | None) -> str:
    """The field of the texts in the entries of the map that a shard was read from; "" where these are texts alone."""
    if like is None or like.format != "caption_map":
        return ""
    first = next(iter(_json.rows_of_entries(like.file, like.start, like.stop)), ("", None))[1]
    return next(iter(_columns.texts_of(first, like.columns)[0]), "") if isinstance(first, dict) else ""


def finish(out: Path, shards: list[str]) -> None:
    """Merge the parts into the maps."""

    def join(file: Path, members: list[str]) -> None:
        with atomic_write(file) as target:
            for number, row in enumerate(_parts.lines(out, members)):
                entry = f"{json.dumps(row[PATH], ensure_ascii=False)}: {json.dumps(row[VALUE], ensure_ascii=False)}"
                target.write((",\n" if number else "{\n").encode() + entry.encode("utf-8", "replace"))
            target.write(b"\n}\n")

    _parts.merge(out, shards, DEFAULT, join)
