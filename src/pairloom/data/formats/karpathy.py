"""Karpathy's splits (Karpathy and Fei-Fei 2015): {"images": [{"filepath", "filename", "split", "sentences": [{"raw"}]}]}.

`restval` counts as train, as everyone trains; metadata keeps the word. Does not know: COCO's own files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pairloom.data.disk import atomic_write
from pairloom.data.formats import _files, _lists, _parts, _tables
from pairloom.data.formats._finder import Finder
from pairloom.data.formats._texts import pair_of, words_of
from pairloom.data.pair import Blob, Pair, Text
from pairloom.data.shards import ColumnNames, Shard

CLAIM = 'Karpathy split JSON: {"images": [{"filename", "split", "sentences"}, ...]}'
HOLDS = ("source", "meta")  # beyond image and texts
DEFAULT = "dataset.json"
OURS = ("filepath", "filename", "sentences")


def _is_row(row: dict[str, Any]) -> bool:
    return isinstance(row.get("sentences"), list)


def sniff(path: Path, columns: ColumnNames = ColumnNames()) -> bool:
    """A JSON object whose images carry sentences."""
    return _lists.fits(path, _is_row, "images", columns=columns)


def shards(path: Path, columns: ColumnNames = ColumnNames()) -> list[Shard]:
    """Spans of the images."""
    return _lists.shards(path, "karpathy", _is_row, "images", columns=columns)


def read(shard: Shard) -> Iterator[Pair]:
    """One pair an image, its sentences in order."""
    finder = Finder(shard.root, shard.file)
    for number, row in enumerate(_lists.rows(shard)):
        known = f"{shard.name}:{number}"
        if isinstance(row, str):
            yield pair_of(known, Blob(), [], problem=row)
            continue
        name, folder = _tables.word(row.get("filename")), _tables.word(row.get("filepath"))
        written = f"{folder}/{name}" if folder and name else name
        blob, problem, notes = finder.find(written)
        if problem and name and folder and not finder.has_folder(folder):
            blob, problem, notes = finder.find(name)  # pictures that were moved out of their folders
        meta = {key: value for key, value in row.items() if key not in OURS}
        if meta.get("split") == "restval":
            meta = {**meta, "split": "train", "original_split": "restval"}
        known = _files.split(_files.readable(written))[0] if written else known
        texts, more = _sentences(row.get("sentences"))
        yield pair_of(known, blob, texts, meta, problem, notes=(*notes, *more))


def _sentences(rows: Any) -> tuple[list[Text], tuple[str, ...]]:
    """The texts, with notes: `raw` of each sentence, or its tokens where there is no `raw`."""
    texts, notes = [], []
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, str):
            texts.append(Text(row))
        if isinstance(row, dict):
            own = {key: value for key, value in row.items() if key not in ("raw", "source")}
            words, tokens = words_of(row.get("raw")), row.get("tokens")
            if not words and isinstance(tokens, list) and tokens:
                words, notes = (
                    [" ".join(map(str, tokens))],
                    ["sentences without raw are read from their tokens"],
                )
            texts += [Text(word, str(row.get("source", "original")), own) for word in words]
    return texts, tuple(notes)


def write(out: Path, shard: str, pairs: Iterable[Pair], like: Shard | None = None) -> None:
    """Images linked (or copied) and the shard's entries. New sentences get their tokens, as the format's users read those."""
    rows = []
    order, first = _lists.order(like, "karpathy", "images"), _first_sentence(like)
    for pair, name in _lists.store(out, list(pairs)):
        folder, _, last = name.rpartition("/")
        meta = dict(pair.meta)
        if original := meta.pop("original_split", None):
            meta["split"] = original
        sentences = []
        for text in pair.texts:
            source = {} if text.source == "original" else {"source": text.source}
            tokens = re.findall(r"\w+", text.text.lower())
            sentence = {"tokens": tokens, **text.meta, "raw": text.text, **source}
            sentences.append(_parts.in_order(sentence, first))
        row = {**meta, "filepath": folder, "filename": last, "sentences": sentences}
        rows.append(_parts.in_order(row, order))
    _parts.write_lines(out, shard, rows)


def _first_sentence(like: Shard | None) -> dict[str, Any]:
    """The first sentence of a shard that was read; {} where there is none."""
    rows = _lists.rows(like) if like is not None and like.format == "karpathy" else iter(())
    sentences = (row.get("sentences") for row in rows if isinstance(row, dict))
    return next(
        (first for listed in sentences if listed for first in listed[:1] if isinstance(first, dict)), {}
    )


def finish(out: Path, shards: list[str]) -> None:
    """Merge the parts into one object."""

    def join(file: Path, members: list[str]) -> None:
        with atomic_write(file) as target:
            target.write(b'{"images": ')
            _parts.write_array(target, _parts.lines(out, members))
            target.write(b"}\n")

    _parts.merge(out, shards, DEFAULT, join)
