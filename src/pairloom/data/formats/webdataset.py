"""WebDataset tars as img2dataset writes them: KEY.jpg, KEY.txt, KEY.json, with a table and statistics beside each tar.

Does not know: pixels. Other files of a sample (.cls, .npy ...) are noted and not carried.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq

from pairloom.data.disk import atomic_write
from pairloom.data.formats import _files, _look, _rows, _tables
from pairloom.data.formats._tar import Member, members
from pairloom.data.formats._texts import decode, pair_of, words_of
from pairloom.data.pair import LARGEST, Blob, Pair, Text
from pairloom.data.shards import Shard

CLAIM = "WebDataset / img2dataset tars: KEY.jpg with KEY.txt or KEY.json"
HOLDS = ("source", "meta")  # beyond image and texts
LONGEST = 1 << 24  # bytes of one .txt or .json
TEXT_FIELDS = ("caption", "captions", "caption_sources")  # of KEY.json; the rest is metadata


def sniff(path: Path) -> bool:
    """A tar, or a folder of them."""
    mark = _look.marker(path)
    return mark is not None and mark.name.endswith(".tar")


def shards(path: Path) -> list[Shard]:
    """One a tar, named as the tar is."""
    if path.is_file():
        return [Shard(_name(path.parent, path), "webdataset", path.parent, path)]
    members = [
        path / (inside + name)
        for inside, names in _files.walk(path)
        for name in names
        if name.endswith(".tar")
    ]
    return [Shard(_name(path, file), "webdataset", path, file) for file in members]


def _name(root: Path, file: Path) -> str:
    return _look.label(root, file).removesuffix(".tar")


def read(shard: Shard) -> Iterator[Pair]:
    """One pair a sample, images by reference into the tar. Links, unsafe names and cut ends are pairs with a problem."""
    seen: set[str] = set()
    table = _Table(shard.file.with_suffix(".parquet"))
    with open(shard.file, "rb") as file:
        for key, sample in _samples(shard.file):
            if sample[0].problem:
                yield pair_of(_files.readable(key), Blob(), [], problem=_reason(sample[0]))
                continue
            pair = _pair(shard, file.fileno(), key, sample, table)
            if key in seen and not pair.problem:
                twice = f"duplicate: the tar holds {key!r} twice"
                pair = pair_of(key, pair.image, pair.texts, pair.meta, twice, notes=pair.notes)
            seen.add(key)
            yield pair


def _samples(path: Path) -> Iterator[tuple[str, list[Member]]]:
    """Neighbours of one key, hidden files left out; a member with a problem is a sample of its own."""

    def which(member: Member) -> tuple[str, str]:
        return _key(member.name), f"{member.offset}" if member.problem else ""

    shown = (m for m in members(path) if m.problem or not m.name.rpartition("/")[2].startswith("."))
    for (key, _), sample in groupby(shown, key=which):
        yield key, list(sample)


def _key(name: str) -> str:
    """WebDataset's key: the name up to the first dot behind the last slash."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.split(".", 1)[0]


def _reason(member: Member) -> str:
    return f"{member.problem}: {member.name[:200]!r}" if member.name else member.problem


def _pair(shard: Shard, handle: int, key: str, sample: list[Member], table: _Table) -> Pair:
    by_suffix: dict[str, Member] = {}
    notes = []
    for member in sample:
        suffix = member.name[len(key) :].lower()
        if suffix in by_suffix:
            notes.append(f"{member.name} stands twice in its sample: the first was read")
        by_suffix.setdefault(suffix, member)
    images = [suffix for suffix in by_suffix if suffix in _files.IMAGES]
    if extra := [s for s in by_suffix if s not in (*images[:1], ".txt", ".json")]:
        notes.append(f"files not carried: {' '.join(extra)}")
    texts, meta, notes_of_text, problem = _words(handle, by_suffix, key, table)
    notes += notes_of_text
    if not images:
        return pair_of(key, Blob(), texts, meta, "no image", notes=notes)
    member = by_suffix[images[0]]
    name = _files.readable(member.name)
    if member.size > LARGEST:
        return pair_of(key, Blob(name=name), texts, meta, f"image has {member.size:,} bytes", notes=notes)
    blob = Blob(shard.file, member.offset, member.size, name=name)
    return pair_of(key, blob, texts, meta, problem, os.pread(handle, member.size, member.offset), notes)


def _words(
    handle: int, sample: dict[str, Member], key: str, table: _Table
) -> tuple[list[Text], dict[str, Any], list[str], str]:
    """Texts, metadata, notes and problem from .txt and .json (from the table beside the tar where there is no .json)."""
    texts: list[Text] = []
    notes: list[str] = []
    meta: dict[str, Any] = {}
    for suffix in (".txt", ".json"):
        if suffix in sample and sample[suffix].size > LONGEST:
            return [], {}, [], f"{suffix} has more than {LONGEST:,} bytes"
    if ".json" in sample:
        try:
            raw, note = decode(os.pread(handle, sample[".json"].size, sample[".json"].offset))
            meta = json.loads(raw, strict=False)
            notes += note
        except (ValueError, RecursionError) as error:
            notes.append(f".json is not JSON and was not read: {error}"[:200])
        if not isinstance(meta, dict):
            meta, notes = {}, [*notes, ".json is not an object and was not read"]
    else:
        meta = table.row(key)
    if meta.get("key") == key:
        del meta["key"]  # written again by the writer
    one, several, sources = (meta.pop(field, None) for field in TEXT_FIELDS)
    listed = words_of(several) or words_of(one)
    known = (
        sources if isinstance(sources, list) and len(sources) == len(listed) else ["original"] * len(listed)
    )
    texts = [Text(word, str(source)) for word, source in zip(listed, known)]
    if ".txt" in sample:
        raw, note = decode(os.pread(handle, sample[".txt"].size, sample[".txt"].offset))
        notes += note
        if raw.strip() and raw.strip() not in [word.strip() for word in listed]:
            texts.insert(0, Text(raw))
    return texts, meta, notes, ""


class _Table:
    """The parquet beside a tar, for tars whose samples have no .json. Read once, when first needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, dict[str, Any]] | None = None

    def row(self, key: str) -> dict[str, Any]:
        """The columns of a key's row without empty cells; {} where there is none."""
        if self.rows is None:
            self.rows = {}
            if self.path.is_file() and "key" in _rows.columns(self.path):
                for start, stop, part in _rows.spans(self.path, None):
                    for row in _rows.rows(self.path, start, stop, part):
                        if isinstance(row, dict):
                            self.rows[str(row["key"])] = {k: v for k, v in row.items() if v is not None}
        return dict(self.rows.get(key, {}))


def write(out: Path, shard: str, pairs: Iterable[Pair]) -> None:
    """SHARD.tar, SHARD.parquet and, last, SHARD_stats.json. Pairs without a readable image are left out."""
    base = out / unquote(shard)
    names, records = _files.Names(), []
    with atomic_write(base.with_name(base.name + ".tar")) as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for number, pair in enumerate(pair for pair in pairs if pair.image_key):
                # a dot in the last part would end WebDataset's key there
                folder, slash, last = (_files.safe(pair.name) or pair.image_key[:20]).rpartition("/")
                key = names.give(folder + slash + last.replace(".", "_"), number, pair.key[:10])
                records.append(_record(key, pair))
                data = pair.image.read()
                suffix = _files.split(pair.image.name)[1]
                _add(tar, key + (suffix if suffix in _files.IMAGES else _files.suffix_of(data)), data)
                if pair.texts:
                    _add(tar, key + ".txt", pair.texts[0].text.encode("utf-8"))
                _add(
                    tar,
                    key + ".json",
                    json.dumps(records[-1], ensure_ascii=False, default=str).encode("utf-8"),
                )
    with atomic_write(base.with_name(base.name + ".parquet")) as file:
        pq.write_table(_tables.as_table(records), file)
    stats = {"count": len(records), "successes": len(records), "failed_to_download": 0, "failed_to_resize": 0}
    with atomic_write(base.with_name(base.name + "_stats.json")) as file:
        file.write(json.dumps({**stats, "status_dict": {"success": len(records)}}).encode("utf-8"))


def _record(key: str, pair: Pair) -> dict[str, Any]:
    words = [text.text for text in pair.texts]
    record = {**pair.meta, "key": key, "caption": words[0] if words else None, "captions": words}
    sources = [text.source for text in pair.texts]
    return {**record, "caption_sources": sources} if set(sources) - {"original"} else record


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """The same bytes for the same content: no clock, owner or machine in the header."""
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def finish(out: Path, shards: list[str]) -> None:
    """Nothing to merge: every tar stands alone."""
