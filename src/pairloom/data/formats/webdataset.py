"""WebDataset tars as img2dataset writes them: KEY.jpg, KEY.txt, KEY.json, with a table and statistics beside each tar.

Does not know: pixels. Other files of a sample (.cls, .npy ...) are noted and not carried.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pyarrow.parquet as pq

from pairloom.data.disk import atomic_write
from pairloom.data.formats import _files, _look, _rows, _tables
from pairloom.data.formats._tar import Member, members
from pairloom.data.formats._texts import UnknownCharset, decode_known, pair_of, texts_in, words_of
from pairloom.data.pair import LARGEST, Blob, Pair, Text
from pairloom.data.shards import ColumnNames, Shard

CLAIM = "WebDataset / img2dataset tars: KEY.jpg with KEY.txt or KEY.json"
HOLDS = ("source", "meta")  # beyond image and texts
LONGEST = 1 << 24  # bytes of one .txt or .json
TEXTS = (".txt", ".caption", ".text")  # the first that a sample has is its text
TEXT_FIELDS = ("caption", "captions", "caption_sources")  # of KEY.json; the rest is metadata


def sniff(path: Path, columns: ColumnNames = ColumnNames()) -> bool:
    """A tar, or a folder of them."""
    mark = _look.marker(path, columns)
    return mark is not None and _files.split(mark.name)[1] == ".tar"


def shards(path: Path, columns: ColumnNames = ColumnNames()) -> list[Shard]:
    """One a tar, named as the tar is."""
    if path.is_file():
        return [Shard(_name(path.parent, path), "webdataset", path.parent, path)]
    members = [
        path / (inside + name)
        for inside, names in _files.walk(path)
        for name in names
        if _files.split(name)[1] == ".tar"
    ]
    return [Shard(_name(path, file), "webdataset", path, file) for file in members]


def _name(root: Path, file: Path) -> str:
    return _files.split(_look.label(root, file))[0]


def read(shard: Shard) -> Iterator[Pair]:
    """One pair a sample, images by reference into the tar. Links, unsafe names and cut ends are pairs with a problem."""
    seen: set[str] = set()
    table = _Table(shard.file.with_suffix(".parquet"))
    with open(shard.file, "rb") as file:
        for sample in _samples(shard.file):
            first = next(iter(sample.files.values()))
            if first.problem:
                yield pair_of(_files.readable(sample.key), Blob(), [], problem=_reason(first))
                continue
            pair = _pair(shard, file.fileno(), sample, table)
            if sample.key in seen:
                twice = f"duplicate: the tar holds {sample.key!r} twice"
                problem = f"{pair.problem}; {twice}" if pair.problem else twice
                pair = pair_of(sample.key, pair.image, pair.texts, pair.meta, problem, notes=pair.notes)
            seen.add(sample.key)
            yield pair


class Sample(NamedTuple):
    """The files of one key, by what stands behind the key in their names (".jpg", ".seg.png"), with notes."""

    key: str
    files: dict[str, Member]
    notes: tuple[str, ...] = ()


def _samples(path: Path) -> Iterator[Sample]:
    """The samples of a tar in order. Their files stand together; where those of a key do not, they are put together as long as
    no two are of one kind."""
    twice = _apart(path)
    whole = _together(path, twice) if twice else {}
    count: dict[str, int] = {}
    for key, run in _runs(path):
        if key not in twice or run[0].problem:
            yield from _by_dots(_sample(key, run))
            continue
        at = count.get(key, 0)
        count[key] = at + 1
        if at in whole[key]:
            yield from _by_dots(_sample(key, whole[key][at], len(whole[key][at]) > len(run)))


def _runs(path: Path) -> Iterator[tuple[str, list[Member]]]:
    """Neighbours of one key, hidden files left out; a member with a problem is a run of its own."""

    def which(member: Member) -> tuple[str, str]:
        return _key(member.name), f"{member.offset}" if member.problem else ""

    shown = (m for m in members(path) if m.problem or not m.name.rpartition("/")[2].startswith("."))
    for (key, _), run in groupby(shown, key=which):
        yield key, list(run)


def _apart(path: Path) -> set[str]:
    """Keys whose files do not stand together. In memory are 8 bytes a key."""
    seen: set[int] = set()
    twice: set[str] = set()
    for key, run in _runs(path):
        if not run[0].problem:
            mark = hash(key)
            if mark in seen:
                twice.add(key)
            seen.add(mark)
    return twice


def _together(path: Path, keys: set[str]) -> dict[str, dict[int, list[Member]]]:
    """For each key its samples by the run at which they begin: a run goes to the sample before it that has no file of its
    kinds, and no picture where it has one."""
    whole: dict[str, dict[int, list[Member]]] = {}
    count: dict[str, int] = {}
    for key, run in _runs(path):
        if key not in keys or run[0].problem:
            continue
        at = count.get(key, 0)
        count[key] = at + 1
        samples = whole.setdefault(key, {})
        fitting = (sample for sample in samples.values() if not _kinds(sample) & _kinds(run))
        before = next(fitting, None)
        if before is None:
            samples[at] = run
        else:
            before += run
    return whole


def _kinds(run: list[Member]) -> set[str]:
    """The suffixes of files; all images are of one kind."""
    suffixes = {_suffix(member) for member in run}
    return {"image" if suffix in _files.IMAGES else suffix for suffix in suffixes}


def _key(name: str) -> str:
    """WebDataset's key: the name up to the first dot behind the last slash, in one Unicode form."""
    folder, slash, last = name.rpartition("/")
    key = folder + slash + last.split(".", 1)[0]
    return key if key.isascii() else unicodedata.normalize("NFC", key)


def _suffix(member: Member) -> str:
    """What stands behind the key, in lower case."""
    return "".join(member.name.rpartition("/")[2].partition(".")[1:]).lower()


def _sample(key: str, run: list[Member], apart: bool = False) -> Sample:
    files: dict[str, Member] = {}
    notes = ["the files of this sample do not stand together in the tar"] if apart else []
    for member in run:
        suffix = _suffix(member)
        if suffix in files:
            notes.append(f"{member.name} stands twice in its sample: the first was read")
        files.setdefault(suffix, member)
        notes += [member.note] if member.note else []
    return Sample(key, files, tuple(dict.fromkeys(notes)))


def _by_dots(sample: Sample) -> Iterator[Sample]:
    """A sample without a picture directly behind its key, whose names have more dots: as many pairs as there are pictures with
    a text of their stem (2020.01.jpg, 2020.01.txt); one where it has only one picture and one text (input.jpg, output.txt)."""
    split = {suffix: suffix.rpartition(".") for suffix in sample.files}
    images = [suffix for suffix, (stem, _, last) in split.items() if stem and f".{last}" in _files.IMAGES]
    if not images or any(suffix in _files.IMAGES for suffix in sample.files):
        yield sample
        return
    note = f"the key of these names ends at their first dot: {sample.key!r}"
    stems: dict[str, dict[str, Member]] = {}
    for suffix, (stem, _, last) in split.items():
        stems.setdefault(stem, {})[f".{last}"] = sample.files[suffix]
    whole = [
        stem for stem, files in stems.items() if any(s in _files.IMAGES for s in files) and ".txt" in files
    ]
    if whole:
        for stem, files in stems.items():
            yield Sample(sample.key + stem, files, (*sample.notes, note))
        return
    texts = [suffix for suffix in sample.files if suffix.endswith(".txt")]
    if len(images) == 1 and len(texts) <= 1:
        plain = {"." + split[suffix][2]: sample.files[suffix] for suffix in (*images, *texts)}
        note = f"the picture of the sample is {images[0]}" + (f", its text {texts[0]}" if texts else "")
        rest = {suffix: member for suffix, member in sample.files.items() if suffix not in (*images, *texts)}
        yield Sample(sample.key, {**rest, **plain}, (*sample.notes, note))
    else:
        yield sample._replace(notes=(*sample.notes, note))


def _reason(member: Member) -> str:
    return f"{member.problem}: {member.name[:200]!r}" if member.name else member.problem


def _pair(shard: Shard, handle: int, sample: Sample, table: _Table) -> Pair:
    key, by_suffix, notes = sample.key, sample.files, list(sample.notes)
    images = [suffix for suffix in by_suffix if suffix in _files.IMAGES]
    words = next((suffix for suffix in TEXTS if suffix in by_suffix), ".txt")
    if extra := [s for s in by_suffix if s not in (*images[:1], words, ".json")]:
        notes.append(f"files not carried: {' '.join(extra)}")
    texts, meta, notes_of_text, problem = _words(handle, by_suffix, words, key, table, shard.columns)
    notes += notes_of_text
    if not images:
        unread = next((suffix for suffix in by_suffix if suffix in _files.UNREAD), None)
        why = (
            f"{by_suffix[unread].name} is of a kind that is not read: save it as JPEG or PNG"
            if unread
            else "no image"
        )
        return pair_of(key, Blob(), texts, meta, why, notes=notes)
    member = by_suffix[images[0]]
    name = _files.readable(member.name)
    if member.size > LARGEST:
        return pair_of(key, Blob(name=name), texts, meta, f"image has {member.size:,} bytes", notes=notes)
    blob = Blob(shard.file, member.offset, member.size, name=name)
    return pair_of(key, blob, texts, meta, problem, os.pread(handle, member.size, member.offset), notes)


def _words(
    handle: int, sample: dict[str, Member], words: str, key: str, table: _Table, columns: ColumnNames
) -> tuple[list[Text], dict[str, Any], list[str], str]:
    """Texts, metadata, notes and problem from .txt and .json (from the table beside the tar where there is no .json).

    words: the suffix of the text file.
    """
    texts: list[Text] = []
    notes: list[str] = []
    meta: dict[str, Any] = {}
    for suffix in (words, ".json"):
        if suffix in sample and sample[suffix].size > LONGEST:
            return [], {}, [], f"{suffix} has more than {LONGEST:,} bytes"
    if ".json" in sample:
        try:
            raw, note = decode_known(os.pread(handle, sample[".json"].size, sample[".json"].offset))
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
    if columns.text or (not words_of(several) and not words_of(one) and words not in sample):
        for field in _look.text_columns(list(meta), columns)[0]:  # another tool's name for the text
            if words_of(meta.get(field)):
                notes += [] if columns.text else [f"the text was read from {field!r} of the .json"]
                one, several = meta.pop(field), None
                break
    listed, more = texts_in(several) if words_of(several) else texts_in(one)
    notes += more
    known = (
        sources if isinstance(sources, list) and len(sources) == len(listed) else ["original"] * len(listed)
    )
    texts = [Text(word, str(source)) for word, source in zip(listed, known)]
    if words in sample and not columns.text:
        try:
            raw, note = decode_known(os.pread(handle, sample[words].size, sample[words].offset))
        except UnknownCharset as error:
            return texts, meta, notes, "" if texts else str(error)
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


def write(out: Path, shard: str, pairs: Iterable[Pair], like: Shard | None = None) -> None:
    """SHARD.tar, SHARD.parquet and, last, SHARD_stats.json. Pairs without a readable image are left out; of none nothing is
    written, since other readers fail at an empty tar."""
    base = out / unquote(shard)
    usable = (pair for pair in pairs if pair.image_key)
    first = next(usable, None)
    if first is None:
        return
    names, records = _files.Names(), []
    with atomic_write(base.with_name(base.name + ".tar")) as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for number, pair in enumerate(chain((first,), usable)):
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
