"""WebDataset tars as img2dataset writes them: KEY.jpg, KEY.txt, KEY.json, with a table and statistics beside each tar.

Does not know: pixels. Other files of a sample (.cls, .npy ...) are noted and not carried.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pyarrow.parquet as pq

from pairloom.data.disk import atomic_write
from pairloom.data.formats import _columns, _files, _look, _parts, _rows, _tables
from pairloom.data.formats._archive_tables import ArchiveTables, read_tables
from pairloom.data.formats._samples import Sample, samples
from pairloom.data.formats._tar import Member
from pairloom.data.formats._texts import UnknownCharset, decode_known, pair_of, texts_in, words_of
from pairloom.data.pair import LARGEST, Blob, Pair, Text
from pairloom.data.shards import ColumnNames, Shard

CLAIM = "WebDataset / img2dataset tars, or zips: KEY.jpg with KEY.txt or KEY.json, or with a table of its pictures"
HOLDS = ("source", "meta")  # beyond image and texts
LONGEST = 1 << 24  # bytes of one .txt or .json
TEXTS = (".txt", ".caption", ".text")  # the first that a sample has is its text
TEXT_FIELDS = ("caption", "captions", "caption_sources")  # of KEY.json; the rest is metadata


def sniff(path: Path, columns: ColumnNames = ColumnNames()) -> bool:
    """A tar or a zip, or a folder of them."""
    mark = _look.marker(path, columns)
    return mark is not None and _files.split(mark.name)[1] in _look.ARCHIVES


def shards(path: Path, columns: ColumnNames = ColumnNames()) -> list[Shard]:
    """One a tar, named as the tar is; zips where there is no tar."""
    if path.is_file():
        return [Shard(_name(path.parent, path), "webdataset", path.parent, path)]
    mark = _look.marker(path, columns)
    suffix = ".zip" if mark is not None and _files.split(mark.name)[1] == ".zip" else ".tar"
    members = [
        path / (inside + name)
        for inside, names in _files.walk(path)
        for name in names
        if _files.split(name)[1] == suffix
    ]
    return [Shard(_name(path, file), "webdataset", path, file) for file in members]


def _name(root: Path, file: Path) -> str:
    return _files.split(_look.label(root, file))[0]


def read(shard: Shard) -> Iterator[Pair]:
    """One pair a sample, images by reference into the tar. Links, unsafe names and cut ends are pairs with a problem."""
    tables = read_tables(shard.file, shard.columns)
    if tables is not None:
        yield from _with_tables(shard, tables)
        return
    seen: set[str] = set()
    table = _Table(shard.file.with_suffix(".parquet"))
    with open(shard.file, "rb") as file:
        for sample in samples(shard.file):
            first = next(iter(sample.files.values()))
            if first.problem:
                known = _files.readable(sample.key or shard.file.name)
                yield pair_of(known, Blob(), [], problem=_reason(first))
                continue
            pair = _pair(shard, file.fileno(), sample, table)
            if sample.key in seen:
                twice = f"duplicate: the tar holds {sample.key!r} twice"
                problem = f"{pair.problem}; {twice}" if pair.problem else twice
                pair = pair_of(sample.key, pair.image, pair.texts, pair.meta, problem, notes=pair.notes)
            seen.add(sample.key)
            yield pair


def _with_tables(shard: Shard, tables: ArchiveTables) -> Iterator[Pair]:
    """One pair a picture, with its rows of the tables that lie in the archive; then the rows of pictures that do not."""
    with open(shard.file, "rb") as file:
        for member in tables.pictures:
            known = _files.readable(_files.split(member.name)[0])
            row = tables.rows.get(member.name)
            blob, data, problem = _picture(shard.file, file.fileno(), member)
            texts, meta, notes = (row.texts, row.meta, row.notes) if row else ([], {}, ())
            yield pair_of(known, blob, texts, meta, problem, data, notes)
    for row, problem in tables.lost:
        known = _files.split(_files.readable(row.name))[0]
        yield pair_of(known, Blob(), row.texts, row.meta, problem, notes=row.notes)


def _reason(member: Member) -> str:
    return f"{member.problem}: {member.name[:200]!r}" if member.name else member.problem


def _pair(shard: Shard, handle: int, sample: Sample, table: _Table) -> Pair:
    key, by_suffix, notes = sample.key, sample.files, list(sample.notes)
    images = [suffix for suffix in by_suffix if suffix in _files.IMAGES]
    words, more = _text_files(by_suffix)
    notes += more
    if extra := [s for s in by_suffix if s not in (*images[:1], *words, ".json")]:
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
    blob, data, unread_problem = _picture(shard.file, handle, by_suffix[images[0]])
    return pair_of(key, blob, texts, meta, unread_problem or problem, data, notes)


def _picture(archive: Path, handle: int, member: Member) -> tuple[Blob, bytes | None, str]:
    """The picture of a member by reference into the archive, its bytes, and the problem of one that cannot be read."""
    name = _files.readable(member.name)
    if member.size > LARGEST:
        return Blob(name=name), None, f"image has {member.size:,} bytes"
    try:
        data = member.read(handle)
    except OSError as error:
        return Blob(name=name), None, f"image cannot be read: {error}"
    if member.packed is not None:
        return Blob(data=data, name=name), data, ""
    return Blob(archive, member.offset, member.size, name=name), data, ""


def _text_files(sample: Iterable[str]) -> tuple[list[str], tuple[str, ...]]:
    """The suffixes of a sample's files that hold its texts, with notes: .txt, and those that are numbered (.0.txt, .1.txt); where there
    is none, the one that is named as texts are (.caption.txt), or the only one."""
    plain = next((suffix for suffix in TEXTS if suffix in sample), None)
    own = {suffix.rpartition(".")[0] for suffix in sample if "." + suffix.rpartition(".")[2] in _files.IMAGES}
    inner = {  # texts of another picture of the sample (1.0.jpg, 1.0.txt beside 1.jpg) are not this one's
        suffix.rpartition(".")[0][1:]: suffix
        for suffix in sample
        if suffix.endswith(TEXTS) and suffix not in TEXTS and suffix.rpartition(".")[0] not in own
    }
    numbered = [inner[stem] for stem in sorted((stem for stem in inner if stem.isdecimal()), key=int)]
    if plain or numbered:
        suffixes = [*([plain] if plain else []), *numbered]
        return suffixes, (f"texts are read from {' '.join(suffixes)}",) if numbered else ()
    named = _columns.text_columns(list(inner), ColumnNames())[0]
    if not named and len(inner) == 1:
        named = tuple(inner)
    suffixes = [inner[stem] for stem in (named if _columns.is_series(named) else named[:1])]
    return suffixes, (f"texts are read from {' '.join(suffixes)}",) if suffixes else ()


def _words(
    handle: int,
    sample: dict[str, Member],
    words: Sequence[str],
    key: str,
    table: _Table,
    columns: ColumnNames,
) -> tuple[list[Text], dict[str, Any], list[str], str]:
    """Texts, metadata, notes and problem from text files and .json (from the table beside the tar where there is no .json).

    words: the suffixes of the text files.
    """
    for suffix in (*words, ".json"):
        if suffix in sample and sample[suffix].size > LONGEST:
            return [], {}, [], f"{suffix} has more than {LONGEST:,} bytes"
    meta, notes = _record_in(handle, sample[".json"]) if ".json" in sample else (table.row(key), [])
    if meta.get("key") == key:
        del meta["key"]  # written again by the writer
    one, several, sources = (meta.pop(field, None) for field in TEXT_FIELDS)
    if columns.text or (not words_of(several) and not words_of(one) and not words):
        fields, in_fields, _ = _columns.texts_of(meta, columns)  # another tool's names for texts
        if in_fields:
            notes += [] if columns.text else [f"the text was read from {' '.join(fields)!r} of the .json"]
            one, several = [meta.pop(field) for field in fields], None
    listed, more = texts_in(several) if words_of(several) else texts_in(one)
    notes += more
    known = (
        sources if isinstance(sources, list) and len(sources) == len(listed) else ["original"] * len(listed)
    )
    texts = [Text(word, str(source)) for word, source in zip(listed, known)]
    in_files: list[Text] = []
    problem = ""
    for suffix in words if not columns.text else ():
        try:
            raw, note = decode_known(sample[suffix].read(handle))
        except (UnknownCharset, OSError) as error:
            problem = str(error)
            continue
        notes += note
        if raw.strip() and raw.strip() not in {word.strip() for word in listed}:
            in_files.append(Text(raw))
    return [*in_files, *texts], meta, notes, "" if in_files or texts else problem


def _record_in(handle: int, member: Member) -> tuple[dict[str, Any], list[str]]:
    """The object in a .json, with notes."""
    try:
        raw, notes = decode_known(member.read(handle))
        record = json.loads(raw, strict=False)
    except (ValueError, RecursionError, OSError) as error:
        return {}, [f".json is not JSON and was not read: {error}"[:200]]
    if not isinstance(record, dict):
        return {}, [*notes, ".json is not an object and was not read"]
    return record, list(notes)


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
    usable = [pair for pair in pairs if pair.image_key]
    if not usable:
        return
    names, records, layout = _files.Names(), [], _layout(like, usable)
    with atomic_write(base.with_name(base.name + ".tar")) as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for number, pair in enumerate(usable):
                # a dot in the last part would end WebDataset's key there
                folder, slash, last = (_files.safe(pair.name) or pair.image_key[:20]).rpartition("/")
                key = names.give(folder + slash + last.replace(".", "_"), number, pair.key[:10])
                records.append(_record(key, pair))
                for suffix, data in _sample_files(pair, records[-1], layout):
                    _add(tar, key + suffix, data)
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


class SampleLayout(NamedTuple):
    """What the samples of a tar hold: a text file, and which fields in the .json, in order (None: all that there are), and
    whether this comes first."""

    has_text: bool = True
    fields: list[str] | None = None
    has_json_first: bool = False


def _layout(like: Shard | None, pairs: list[Pair]) -> SampleLayout:
    """The layout of the tar that was read, as its first sample shows it, for pairs of one original text each. Others need all fields,
    and so do pairs that were not read from a tar."""
    if like is None or like.format != "webdataset":
        return SampleLayout()
    if any(len(pair.texts) != 1 or pair.texts[0].source != "original" for pair in pairs):
        return SampleLayout()
    first = next((sample.files for sample in samples(like.file) if not _problem(sample)), {})
    if ".json" not in first:
        return SampleLayout(fields=[])
    with open(like.file, "rb") as file:
        row, _ = _record_in(file.fileno(), first[".json"])
        if row:
            has_text = "caption" not in row or any(suffix in first for suffix in TEXTS)
            return SampleLayout(has_text, list(row), next(iter(first)) == ".json")
    return SampleLayout()


def _sample_files(pair: Pair, record: dict[str, Any], layout: SampleLayout) -> list[tuple[str, bytes]]:
    """The files of a sample: (suffix, content)."""
    data = pair.image.read()
    suffix = _files.split(pair.image.name)[1]
    files = [(suffix if suffix in _files.IMAGES else _files.suffix_of(data), data)]
    if pair.texts and layout.has_text:
        files.append((".txt", pair.texts[0].text.encode("utf-8")))
    known = _as_read(record, pair, layout.fields)
    as_json = [(".json", json.dumps(known, ensure_ascii=False, default=str).encode("utf-8"))] if known else []
    return [*as_json, *files] if layout.has_json_first else [*files, *as_json]


def _problem(sample: Sample) -> bool:
    return any(member.problem for member in sample.files.values())


def _as_read(record: dict[str, Any], pair: Pair, fields: list[str] | None) -> dict[str, Any]:
    """The fields of a sample's .json as they were read, in their order; all of them where the fields are not known."""
    if fields is None:
        return record
    known = {
        name: value for name, value in record.items() if name in fields or (fields and name in pair.meta)
    }
    return _parts.in_order(known, fields)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """The same bytes for the same content: no clock, owner or machine in the header."""
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def finish(out: Path, shards: list[str]) -> None:
    """Nothing to merge: every tar stands alone."""
