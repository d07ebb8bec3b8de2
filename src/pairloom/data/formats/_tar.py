"""Tar archives by offset: where each member's bytes lie, from the 512-byte headers alone (POSIX.1-2001 pax, GNU).

Nothing is unpacked. What is no plain file, is named unsafely or is cut off comes back as a member with a problem.
Does not know: samples, images, texts.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

BLOCK = 512
LONG = 1 << 20  # bytes of a name record: more is no name
COMPRESSED = (
    b"\x1f\x8b",
    b"PK\x03\x04",
    b"BZh",
    b"\xfd7zXZ",
    b"\x28\xb5\x2f\xfd",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!\x1a\x07",
)  # first bytes
KINDS = {
    b"1": "a hard link",
    b"2": "a link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"S": "a sparse file",
}


class Member(NamedTuple):
    """One file in an archive: its bytes are [offset, offset + size). packed: of a zip, the bytes there, where they are deflated."""

    name: str
    offset: int
    size: int
    problem: str = ""
    note: str = ""
    packed: int | None = None

    def read(self, handle: int) -> bytes:
        """The bytes. OSError where packed ones are broken, or are more or less than the archive says."""
        if self.packed is None:
            return os.pread(handle, self.size, self.offset)
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = unpacker.decompress(os.pread(handle, self.packed, self.offset), self.size + 1)
        except zlib.error as error:
            raise OSError(f"{self.name} cannot be unpacked: {error}") from error
        if len(data) != self.size or not unpacker.eof:
            raise OSError(f"{self.name} unpacks to another length than the archive says")
        return data


def members(path: Path) -> Iterator[Member]:
    """The members in order, folders left out. Where the archive breaks off, a last member says so."""
    handle = os.open(path, os.O_RDONLY)
    try:
        yield from _members(handle, os.fstat(handle).st_size)
    finally:
        os.close(handle)


def _members(handle: int, end: int) -> Iterator[Member]:
    at, name, sizes, note = 0, "", None, ""
    while True:
        head = os.pread(handle, BLOCK, at)
        if not at and head.startswith(COMPRESSED) and (len(head) < BLOCK or not _sum_is_right(head)):
            yield Member("", at, 0, "tar is compressed: unpack it first")
            return
        if len(head) < BLOCK:
            reason = "tar has no end mark: it may be cut off" if at else "tar is empty"
            yield Member("", at, 0, "tar is cut off" if head else reason)
            return
        if head.count(0) == BLOCK:  # the end mark; archives that were joined go on behind it
            at = _next_used(handle, at, end)
            if at >= end:
                return
            note = (
                "behind an end mark of the tar: readers that stop there do not see it (tars joined by cat?)"
            )
            continue
        size = _number(head[124:136])
        if size is None or size < 0 or not _sum_is_right(head):
            where = "bytes that are no member stand behind the end mark" if note else "not a header"
            yield Member("", at, 0, f"tar is broken at byte {at:,}: {where}")
            return
        kind, start = head[156:157], at + BLOCK
        if kind in b"LKxg":
            record = os.pread(handle, min(size, LONG), start)
            if start + size > end:
                yield Member("", at, 0, "tar is cut off")
                return
            if kind == b"L":
                name = _word(record)
            elif kind == b"x":
                name, sizes = _pax(record, name)
            at = start + -(-size // BLOCK) * BLOCK
            continue
        size, known = (size if sizes is None else sizes), name or _name(head)
        name, sizes = "", None
        at = start + -(-size // BLOCK) * BLOCK
        if start + size > end:
            yield Member(known, start, size, "tar is cut off")
            return
        if kind != b"5" and not (kind in b"0\0" and known.endswith("/")):
            yield Member(known, start, size, unsafe(known) or (KINDS.get(kind, "")), note)


def _next_used(handle: int, at: int, end: int) -> int:
    """Where the first block from `at` on begins that is not all zeros; `end` where there is none."""
    while at < end:
        chunk = os.pread(handle, 1 << 20, at)
        used = len(chunk) - len(chunk.lstrip(b"\0"))
        if used < len(chunk):
            return at + used // BLOCK * BLOCK
        at += len(chunk) or end
    return end


def unsafe(name: str) -> str:
    out = name[:1] in ("/", "\\") or name[1:2] == ":"
    out = out or (".." in name and ".." in name.replace("\\", "/").split("/"))
    return "a name that leads out of the archive" if out else ""


def _word(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")


def _name(head: bytes) -> str:
    name, prefix = _word(head[:100]), _word(head[345:500]) if head[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _number(field: bytes) -> int | None:
    """An octal field, or GNU's base 256 for what does not fit."""
    if field[0] & 0x80:
        return int.from_bytes(field, "big") & ((1 << 95) - 1) if field[0] == 0x80 else None
    try:
        return int(field.split(b"\0", 1)[0].strip() or b"0", 8)
    except ValueError:
        return None


def _sum_is_right(head: bytes) -> bool:
    """The header's checksum: the sum of its bytes, its own field taken as blanks (old archives: as signed bytes)."""
    written = _number(head[148:156])
    if written is None:
        return False
    # Adler-32's low half is 1 + the sum of the bytes, modulo 65521: many times faster than summing here
    if zlib.adler32(head) & 0xFFFF == (1 + written - 8 * 32 + sum(head[148:156])) % 65521:
        return True
    signed = sum(byte - 256 if byte > 127 else byte for byte in head)
    return written == signed - sum(byte - 256 if byte > 127 else byte for byte in head[148:156]) + 8 * 32


def _pax(record: bytes, name: str) -> tuple[str, int | None]:
    """Path and size from pax records "LENGTH KEY=VALUE\\n"; what is broken is passed over."""
    size, at = None, 0
    while at < len(record):
        length, blank, _ = record[at : at + 20].partition(b" ")
        if not blank or not length.isdigit() or int(length) <= len(length) + 1:
            break
        key, _, value = record[at + len(length) + 1 : at + int(length) - 1].partition(b"=")
        if key == b"path":
            name = _word(value)
        elif key == b"size" and value.isdigit():
            size = int(value[:18])
        at += int(length)
    return name, size
