"""Zip archives in place: where each member's bytes lie, from the archive's directory (PKWARE's APPNOTE), as members of a tar are.

Nothing is unpacked to the disk. What is encrypted, overlaps another member or is packed by another method than deflate comes back as a
member with a problem. Does not know: samples, images, texts.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from pairloom.data.formats import _files
from pairloom.data.formats._tar import Member, unsafe

HEADER = 30  # bytes of a member's own header before its name
ENCRYPTED = 0x1 | 0x40
RATIO = 1032  # deflate packs at most so many bytes into one


def members(path: Path) -> Iterator[Member]:
    """The members by name, folders and hidden ones left out; a broken archive is one member that says so."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        yield Member("", 0, 0, f"tar is broken: no sound zip ({error})")
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        ends = _ends(entries, os.fstat(handle).st_size)
        for entry in sorted(entries, key=lambda entry: _name(entry)):
            parts = [part for part in _name(entry).split("/") if part != ".."]  # these are told as unsafe
            if not entry.is_dir() and not any(map(_files.is_hidden, parts)):
                yield _member(handle, entry, ends[entry.header_offset])
    finally:
        os.close(handle)


def _ends(entries: list[zipfile.ZipInfo], size: int) -> dict[int, int]:
    """Where the header of a member begins -> where the next one does."""
    starts = sorted({entry.header_offset for entry in entries})
    return dict(zip(starts, [*starts[1:], size]))


def _member(handle: int, entry: zipfile.ZipInfo, end: int) -> Member:
    name, head = _name(entry), os.pread(handle, HEADER, entry.header_offset)
    start = entry.header_offset + HEADER + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")  # fmt: skip
    problem = unsafe(name)
    if entry.flag_bits & ENCRYPTED:
        problem = "it is encrypted: unpack the zip with its password"
    elif entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        problem = "it is packed by a method that is not read: unpack the zip first"
    elif not head.startswith(b"PK\3\4") or start + entry.compress_size > end:
        problem = "it is cut off, or overlaps another member"
    elif entry.compress_type == zipfile.ZIP_STORED and entry.file_size != entry.compress_size:
        problem = "its sizes do not agree"
    elif entry.file_size > RATIO * entry.compress_size:
        problem = "it would unpack to more bytes than can be packed"
    packed = entry.compress_size if entry.compress_type == zipfile.ZIP_DEFLATED else None
    return Member(name, start, entry.file_size, problem, packed=packed)


def _name(entry: zipfile.ZipInfo) -> str:
    """The name, also of archives that have UTF-8 without saying so, or Windows' separators."""
    name = entry.filename
    if not entry.flag_bits & 0x800 and not name.isascii():
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    return name.replace("\\", "/")
