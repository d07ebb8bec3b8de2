"""Rows of CSV, TSV, JSON lines and columnar files in spans, streaming. Does not know: what a column means.

A row is a dict of columns, or a string that says why it cannot be read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from pairloom.data.formats import _columnar
from pairloom.data.formats._columnar import is_columnar
from pairloom.data.formats._files import is_image
from pairloom.data.formats._json import as_row
from pairloom.data.formats._table_lines import WIDEST, LineReader, TableLine
from pairloom.data.shards import SIZE
from pairloom.errors import Mistake

FURTHEST = 1000  # lines of one cell: a quote that is never closed ends here
SEEN = 1000  # lines of a .jsonl whose fields are its columns
KEPT = 2000  # characters of a row that cannot be read, as its text
DELIMITERS = (",", "\t", ";", "|")
LINES = (".jsonl", ".ndjson", ".json")  # rows that are JSON objects


class TableRow(dict[str, Any]):
    """A row that was read, by column. notes: what the reader had to do."""

    notes: tuple[str, ...] = ()


class BrokenRow(str):
    """Why a row cannot be read. raw: the row as it stands in the file, shortened."""

    raw: str = ""


Row = dict[str, Any] | str


def broken(why: str, raw: str = "") -> BrokenRow:
    row = BrokenRow(why)
    row.raw = raw.strip()[:KEPT]
    return row


def columns(path: Path) -> list[str]:
    """The names of a table's columns ([] where it is no table): the header, or the keys of the first rows."""
    try:
        if is_columnar(path):
            return list(_columnar.schema(path).names)
        if path.suffix.lower() in LINES:
            return _fields(path)
        return list(_layout(path).names)
    except (OSError, pa.ArrowException, ValueError):
        return []


def _fields(path: Path) -> list[str]:
    """The keys of the first objects of JSON lines. [] where the first line is no whole object."""
    names: dict[str, None] = {}
    for number, (_, _, row) in enumerate(islice(_lines(path, 0, os.path.getsize(path)), SEEN)):
        if isinstance(row, dict):
            names |= dict.fromkeys(row)
        elif not number:
            break
    return list(names)


def is_lines(path: Path) -> bool:
    """Whether a .json holds JSON lines: its first two lines are an object each."""
    first = [row for _, _, row in islice(_lines(path, 0, os.path.getsize(path), 1 << 20), 2)]
    return len(first) == 2 and all(isinstance(row, dict) for row in first)


def spans(path: Path, column: str | None) -> list[tuple[int, int, str]]:
    """(start, stop, part) of SIZE rows each; neighbours of one value (not None) in the column stay together.

    Text files: bytes. Columnar files: rows of the group that `part` names. Raises Mistake where the file is broken.
    """
    if is_columnar(path):
        return _columnar.spans(path, column)
    ranges: list[tuple[int, int, str]] = []
    count, first, last, before = 0, 0, 0, None
    for start, stop, row in _located(path, 0, os.path.getsize(path)):
        same = row.get(column) if column and isinstance(row, dict) else None
        if count >= SIZE and (same is None or same != before):
            ranges.append((first, last, ""))
            count = 0
        first, last, before = (first if count else start), stop, same
        count += 1
    return [*ranges, (first, last, "")] if count else ranges


def first(path: Path, count: int | None, wanted: list[str] | None = None) -> Iterator[Row]:
    """The first rows of a table; all where no count is given. None where it cannot be read. wanted: columns; of a few rows of
    columnar files these come without the bytes of pictures."""
    try:
        if is_columnar(path):
            yield from _columnar.first(path, count, wanted)
        else:
            for _, _, row in islice(_located(path, 0, os.path.getsize(path)), count):
                yield row
    except (OSError, Mistake):
        return


def rows(path: Path, start: int, stop: int, part: str = "") -> Iterator[Row]:
    """The rows of one span."""
    if is_columnar(path):
        yield from _columnar.rows(path, start, stop, int(part))
    else:
        for _, _, row in _located(path, start, stop):
            yield row


def _located(path: Path, start: int, stop: int) -> Iterator[tuple[int, int, Row]]:
    return _lines(path, start, stop) if path.suffix.lower() in LINES else _cells(path, start, stop)


def _lines(path: Path, start: int, stop: int, widest: int = WIDEST) -> Iterator[tuple[int, int, Row]]:
    with open(path, "rb") as file:
        lines = LineReader(file, start, widest)
        while lines.at < stop and (line := lines.next()) is not None:
            if line.problem or line.text.strip():
                yield line.start, line.stop, _object(line)


def _object(line: TableLine) -> Row:
    if line.problem:
        return broken(f"row: {line.problem}")
    try:
        value = as_row(json.loads(line.text, strict=False))
    except (ValueError, RecursionError) as error:
        return broken(f"row is not JSON: {error}"[:200], line.text)
    return (
        _noted(value, line.notes)
        if isinstance(value, dict)
        else broken("row is not a JSON object", line.text)
    )


def _noted(row: dict[str, Any], notes: tuple[str, ...]) -> TableRow:
    record = TableRow(row)
    record.notes = notes
    return record


@dataclass(frozen=True)
class Layout:
    """How a CSV or TSV is written: its columns, the delimiter, the byte where its rows begin, and whether a header names the
    columns."""

    names: tuple[str, ...]
    delimiter: str
    begin: int
    has_header: bool = True


def _layout(path: Path) -> Layout:
    """By its header: the delimiter of the file's suffix, unless the header has another one and not that."""
    with open(path, "rb") as file:
        lines = LineReader(file, 0)
        head, delimiter = _head(lines, "\t" if path.suffix.lower() == ".tsv" else ",")
        if head is None or head.problem:
            return Layout((), ",", 0)
        if (listed := _listed(head)) is not None:
            return listed
        cells, _ = _joined(head, lines, delimiter, 0)
        begin = lines.at
    return Layout(_distinct(name.strip() for name in cells), delimiter, begin)


def _head(lines: LineReader, usual: str) -> tuple[TableLine | None, str]:
    """The header and its delimiter: the usual one, unless the header has another and not that. Before it may stand the line by which
    Excel names the delimiter ("sep=;") and comments that begin with "#"; the last of these is the header where it has a word for each cell."""
    named, comment = "", None
    while (head := lines.next()) is not None:
        text = head.text.strip()
        if match := re.fullmatch(r"sep=(.)", text):
            named = match[1]
        elif text.startswith("#"):
            comment = head
        elif text:
            break
    if head is None:
        return comment, usual
    counts = {delimiter: head.text.count(delimiter) for delimiter in (usual, *DELIMITERS)}
    delimiter = named or (usual if counts[usual] else max(counts, key=lambda one: counts[one]))
    names = (
        [name.strip() for name in comment.text.lstrip("# ").split(delimiter)] if comment is not None else []
    )
    if comment is not None and len(names) == head.text.count(delimiter) + 1 > 1 and all(map(_is_word, names)):
        lines.put_back([head])
        head = comment._replace(text=delimiter.join(names))
    return head, delimiter


def _is_word(name: str) -> bool:
    return re.fullmatch(r'"?[\w.-]+"?', name) is not None


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    """The names of columns, of which those that stood before have a number, so that no column hides another."""
    known: dict[str, int] = {}
    for name in names:
        at = 0
        while (written := f"{name}.{at}" if at else name) in known:
            at += 1
        known[written] = at
    return tuple(known)


_LISTED = re.compile(r"""\s*"?([^"\t,;|]+?)(#\d+)?"?\s*([,\t;|]|\s(?=\S))""")


def _listed(line: TableLine) -> Layout | None:
    """The layout of a list without a header, whose first line begins with an image's name: "a.jpg#0<TAB>text", "a.jpg|0|text"."""
    match = _LISTED.match(line.text)
    if match is None or not is_image(match[1].strip()):
        cells = [cell.strip() for cell in line.text.split("\t")]
        is_last = (
            len(cells) == 2 and is_image(cells[1]) and "://" not in cells[1]
        )  # as CC3M's lists: text, then place
        return Layout(("caption", "image"), "\t", line.start, has_header=False) if is_last else None
    delimiter, rest = match[3], line.text[match.end() :]
    number, more, _ = rest.partition(delimiter)
    names = ("image", "number", "caption") if more and number.strip(' "').isdigit() else ("image", "caption")
    return Layout(names, delimiter, line.start, has_header=False)


def _listed_cells(text: str, layout: Layout) -> list[str]:
    """The cells of a row of a list: its text is the rest of the line; the number behind an image's name goes."""
    cells = [cell.strip() for cell in text.split(layout.delimiter, len(layout.names) - 1)]
    cells = [
        cell[1:-1].replace('""', '"') if re.fullmatch(r'"(?:[^"]|"")*"', cell) else cell for cell in cells
    ]
    if layout.names[0] != "image":
        return cells
    return [re.sub(r"#\d+$", "", cells[0]), *cells[1:]]


def _cells(path: Path, start: int, stop: int) -> Iterator[tuple[int, int, Row]]:
    layout = _layout(path)
    with open(path, "rb") as file:
        lines = LineReader(file, max(start, layout.begin))
        while lines.at < stop and (line := lines.next()) is not None:
            if line.text or line.problem:
                row = _row(line, lines, layout)
                yield line.start, lines.at, row


def _row(line: TableLine, lines: LineReader, layout: Layout) -> Row:
    if line.problem:
        return broken(f"row: {line.problem}")
    if "\r" in line.text and '"' not in line.text:
        return broken("row cannot be read: a carriage return stands in it", line.text)
    if layout.has_header:
        cells, notes = _joined(line, lines, layout.delimiter, len(layout.names))
    else:
        cells, notes = _listed_cells(line.text, layout), ()
    if len(cells) != len(layout.names):
        return broken(f"row has {len(cells)} cells, not {len(layout.names)}", line.text)
    if layout.delimiter == "|":  # written with blanks around it
        cells = [cell.strip() for cell in cells]
    return _noted(dict(zip(layout.names, cells)), (*line.notes, *notes))


def _joined(
    line: TableLine, lines: LineReader, delimiter: str, width: int
) -> tuple[list[str], tuple[str, ...]]:
    """The cells of a row, which goes on in the next lines where a quoted cell does. A quotation mark that opens no well-formed
    cell is a character, with a note where it is never closed. width: cells of a row; 0 where it is not known."""
    if '"' not in line.text:
        return line.text.split(delimiter), ()
    cells, sound = _split(line.text, delimiter)
    if cells is None:
        taken: list[TableLine] = []
        text, before = line.text, line.end
        while cells is None and len(taken) < FURTHEST and (more := lines.next()) is not None:
            taken.append(more)
            if width and _is_row(more.text, delimiter, width):
                break
            text, before = text + before + more.text, more.end
            if '"' in more.text:
                cells, sound = _split(text, delimiter)
        if cells is not None and sound and (not width or len(cells) == width):
            return cells, ()
        lines.put_back(taken)
        return line.text.split(delimiter), ("a quotation mark that is never closed was read as a character",)
    if (not sound or (width and len(cells) != width)) and '\\"' in line.text:
        escaped, whole = _split(line.text, delimiter, "\\")
        if escaped is not None and whole and (not width or len(escaped) == width):
            return escaped, ("a backslash before a quotation mark was read as an escape",)
    return cells, ()


def _is_row(text: str, delimiter: str, width: int) -> bool:
    """Whether a line could be a row of its own: wide enough, and an image's name among its cells."""
    cells = text.split(delimiter)
    return len(cells) >= width and any(is_image(cell.strip(' "')) for cell in cells)


_BLANKS = re.compile(" *")
_QUOTED = {
    "": re.compile(r'"((?:[^"]|"")*+)"', re.DOTALL),
    "\\": re.compile(r'"((?:[^"\\]|\\.|"")*+)"', re.DOTALL),
}


def _split(text: str, delimiter: str, escape: str = "") -> tuple[list[str] | None, bool]:
    """Cells of a text, and whether all quoted ones are well formed; None where the text ends inside of a quoted cell. Blanks may stand
    around the quotes."""
    cells: list[str] = []
    at, sound = 0, True
    while True:
        end = text.find(delimiter, at)
        cell = text[at:] if end < 0 else text[at:end]
        if cell.lstrip(" ").startswith('"'):
            match = _QUOTED[escape].match(text, at + len(cell) - len(cell.lstrip(" ")))
            if match is None and cell.startswith('"'):
                return None, False
            after = _BLANKS.match(text, match.end()).end() if match is not None else 0  # type: ignore[union-attr]  # it always fits
            if match is not None and (after == len(text) or text.startswith(delimiter, after)):
                cell = match[1].replace('""', '"')
                cell = re.sub(r"\\(.)", r"\1", cell, flags=re.DOTALL) if escape else cell
                end = after if after < len(text) else -1
            else:
                sound = sound and not cell.startswith('"')
        cells.append(cell)
        if end < 0:
            return cells, sound
        at = end + len(delimiter)
