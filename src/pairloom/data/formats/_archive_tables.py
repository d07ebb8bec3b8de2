"""Tables inside a tar or a zip that name its pictures: the rows of each picture, by the name of its member.

A table is unpacked to a temporary file while it is read; pictures are not. Does not know: samples, shards.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from pairloom.data.formats import _columns, _files, _json, _look, _rows, _tables, _tar, _zip
from pairloom.data.formats._tar import Member
from pairloom.data.formats._texts import texts_in
from pairloom.data.pair import Text
from pairloom.data.shards import ColumnNames

KINDS = {*_look.TABLES, ".json", ".txt"}
LARGEST = 1 << 30  # bytes of a table
OF_SAMPLES = (
    ".txt",
    ".caption",
    ".text",
    ".json",
)  # files that stand beside a picture of their name, where an archive holds samples


class ArchiveRows(NamedTuple):
    """What the rows of a picture hold. name: as they write it. problem: of a row that cannot be read, or names no picture."""

    name: str
    texts: list[Text]
    meta: dict[str, Any]
    notes: tuple[str, ...]
    problem: str = ""


@dataclass
class ArchiveTables:
    """The pictures of an archive in order, the rows of each by the name of its member, and the rows of pictures that are not there,
    with the reason."""

    pictures: list[Member]
    rows: dict[str, ArchiveRows] = field(default_factory=dict)
    lost: list[tuple[ArchiveRows, str]] = field(default_factory=list)


def members(path: Path) -> Iterator[Member]:
    """The members of a tar or a zip."""
    return _zip.members(path) if _files.split(path.name)[1] == ".zip" else _tar.members(path)


def read_tables(path: Path, columns: ColumnNames) -> ArchiveTables | None:
    """The tables of an archive with its pictures; None where it holds samples, or no table names any of its pictures."""
    pictures, tables = _sorted(path)
    if not pictures or not tables:
        return None
    known, places = ArchiveTables(pictures), _Places(pictures)
    with tempfile.TemporaryDirectory() as temporary:
        for number, member in enumerate(tables):
            file = Path(temporary) / f"{number}{_files.split(member.name)[1]}"
            _unpack(path, member, file)
            for row in _rows_of(file, columns):
                if row.problem:
                    known.lost.append((row, row.problem))
                    continue
                names, note = places.find(row.name, member.name.rpartition("/")[0])
                if len(names) != 1:
                    shown = f"several pictures are called {row.name!r}: {', '.join(names[:5])}"
                    known.lost.append(
                        (row, f"no image: {shown if names else f'{row.name!r} is not in the archive'}")
                    )
                    continue
                before = known.rows.get(names[0])
                texts = [text for text in row.texts if before is None or text not in before.texts]
                row = row._replace(
                    texts=[*(before.texts if before else ()), *texts], notes=(*row.notes, *note)
                )
                known.rows[names[0]] = row
    return known if known.rows else None


def _sorted(path: Path) -> tuple[list[Member], list[Member]]:
    """The pictures and the tables of an archive; none of one whose first pictures have a text of their name."""
    pictures: list[Member] = []
    stems: set[str] = set()
    others: dict[str, list[Member]] = {}
    for member in members(path):
        stem, suffix = _files.split(member.name)
        if member.problem or _files.is_hidden(member.name.rpartition("/")[2]):
            continue
        if suffix in _files.IMAGES:
            pictures.append(member)
            stems.add(stem)
        elif suffix in KINDS and member.size <= LARGEST:
            others.setdefault(stem, []).append(member)
        if stem in stems and (suffix in OF_SAMPLES or stem in others):
            return [], []
    return pictures, [one for stem, each in others.items() if stem not in stems for one in each]


def _unpack(path: Path, member: Member, file: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        file.write_bytes(member.read(handle))
    except OSError:
        file.write_bytes(b"")
    finally:
        os.close(handle)


def _rows_of(file: Path, columns: ColumnNames) -> Iterator[ArchiveRows]:
    """The rows of each picture that a table, or a JSON list or map, names; none of other files."""
    if file.suffix == ".json" and not _rows.is_lines(file):
        yield from _rows_of_json(file, columns)
        return
    known = _columns.resolved(file, columns)
    image = known.image
    if image is None or not known.texts or (file.suffix == _look.LIST and not _look.is_list(file)):
        return
    for group in _tables.grouped(_rows.first(file, None), lambda row: _tables.word(row.get(image))):
        if isinstance(group[0], str):
            yield ArchiveRows(file.name, [Text(text) for text in _tables.left(group[0])], {}, (), group[0])
            continue
        name = _tables.word(group[0].get(image))
        rows = ArchiveRows(name or file.name, *_tables.words(group, known.texts, (image,)))
        yield rows if name else rows._replace(problem="no image")


def _rows_of_json(file: Path, columns: ColumnNames) -> Iterator[ArchiveRows]:
    if (within := _look.map_within(file)) is not None:
        for start, stop in _json.entry_spans(file, within):
            for name, value in _json.rows_of_entries(file, start, stop):
                texts, notes = texts_in(value)
                yield ArchiveRows(name, [Text(text) for text in texts], {}, notes)
        return
    for key in _json.row_arrays(_json.peek(file)):
        for start, stop in _json.spans(file, key):
            for row in _json.rows(file, start, stop):
                image = _columns.image_column(list(row), columns) if isinstance(row, dict) else None
                texts_of = _columns.text_columns(list(row), columns)[0] if image is not None else ()
                if image is not None and texts_of and (known := _tables.word(row.get(image))):
                    yield ArchiveRows(known, *_tables.words([row], texts_of, (image,)))


class _Places:
    """The members that a row's name may mean."""

    def __init__(self, pictures: list[Member]) -> None:
        self.names = {member.name for member in pictures}
        self.by_last: dict[str, list[str]] = {}
        for member in pictures:
            self.by_last.setdefault(member.name.rpartition("/")[2], []).append(member.name)
        self.is_flat = len({name.rpartition("/")[0] for name in self.names}) == 1

    def find(self, name: str, folder: str) -> tuple[list[str], tuple[str, ...]]:
        """The members, of which there should be one, with a note where it is a guess: the name in the table's folder, in images/ there, or
        from the archive's root; else the ends of the name, the longest first. folder: of the table."""
        plain = unquote(name.strip()).replace("\\", "/")
        parts = [part for part in plain.split("/") if part not in ("", ".")]
        prefix = f"{folder}/" if folder else ""
        for at in range(len(parts)):
            end = "/".join(parts[at:])
            for written in (f"{prefix}{end}", f"{prefix}images/{end}", end):
                if written in self.names and (not at or at < len(parts) - 1 or self.is_flat):
                    return [written], ()
        hits = self.by_last.get(parts[-1], []) if parts else []
        sure = self.is_flat or len(hits) != 1
        return hits, () if sure else (f"the picture was found by its name alone: {hits[0]}",)
