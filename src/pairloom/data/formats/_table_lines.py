"""Lines of a CSV or TSV, with their places in the file. Does not know: cells, rows, columns."""

from __future__ import annotations

import codecs
from typing import IO, NamedTuple

from pairloom.data.formats._texts import UnknownCharset, decode_known

WIDEST = 1 << 26  # bytes of one line: base64 pictures fit
CHUNK = 1 << 16  # bytes that are read at a time where lines end with a carriage return
UTF16 = {codecs.BOM_UTF16_LE: ("utf-16-le", b"\n\0"), codecs.BOM_UTF16_BE: ("utf-16-be", b"\0\n")}


class TableLine(NamedTuple):
    """A line of a table: its place in the file, its text without line end, the line end, notes and problem of decoding."""

    start: int
    stop: int
    text: str
    end: str
    notes: tuple[str, ...]
    problem: str


class LineReader:
    """Lines of a file with their places; lines may be put back. They end as the file's first ones do: with a line feed, or, where
    there is none, with a carriage return (old Macs). A file of UTF-16 begins with its mark."""

    def __init__(self, file: IO[bytes], start: int, widest: int = WIDEST) -> None:
        """start: the byte where a line begins. widest: bytes of a line, which is cut there."""
        self.file, self.at, self.widest = file, start, widest
        self.back: list[TableLine] = []
        file.seek(0)
        head = file.read(CHUNK)
        self.charset, self.feed = UTF16.get(head[:2], ("", b"\n"))
        self.by_return = b"\r" in head[:-1] and b"\n" not in head
        file.seek(start)

    def _raw(self) -> bytes:
        if self.charset:
            return self._raw_wide()
        if not self.by_return:
            return self.file.readline(self.widest)
        start, raw = self.file.tell(), b""
        while len(raw) < self.widest and (chunk := self.file.read(CHUNK)):
            line, end, _ = chunk.partition(b"\r")
            raw += line + end
            if end:
                self.file.seek(start + len(raw))
                break
        return raw

    def _raw_wide(self) -> bytes:
        """A line of characters of two bytes, of which a line feed is one only where it is a whole character."""
        raw = b""
        while len(raw) < self.widest and (more := self.file.readline(self.widest)):
            raw += more
            if len(raw) % 2:  # the other half of the last character
                raw += self.file.read(1)
            if raw.endswith(self.feed):
                break
        return raw

    def _decoded(self, raw: bytes) -> tuple[str, tuple[str, ...]]:
        if not self.charset:
            return decode_known(raw)
        return raw.decode(self.charset, "replace").removeprefix("\ufeff"), ("text is UTF-16",)

    def next(self) -> TableLine | None:
        if self.back:
            line = self.back.pop()
        else:
            raw, start = self._raw(), self.at
            if not raw:
                return None
            notes: tuple[str, ...] = ()
            problem = ""
            try:
                text, notes = self._decoded(raw.removeprefix(b"\xef\xbb\xbf") if not start else raw)
            except UnknownCharset as error:
                text, problem = "", str(error)
            text = text.replace("\0", "")
            whole = text.rstrip("\r\n")
            line = TableLine(start, start + len(raw), whole, text[len(whole) :], notes, problem)
        self.at = line.stop
        return line

    def put_back(self, lines: list[TableLine]) -> None:
        if lines:
            self.back += reversed(lines)
            self.at = lines[0].start
