"""JSON files larger than memory: the elements of their arrays one at a time, with the bytes they span.

Does not know: what an element means. Memory: the longest element, and one megabyte.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

from pairloom.data.formats._files import is_image
from pairloom.data.formats._texts import UnknownCharset, decode, decode_known
from pairloom.data.shards import SIZE
from pairloom.errors import Mistake

CHUNK = 1 << 20
SLACK = 64  # an error this near the end of the window may only mean that more must be read
FEW = 20  # entries of an object that tell whether its keys are names of pictures
PEEKED = 100  # objects of an array that tell what it holds: the first one may lack a field
TELLING = ("images", "annotations")
DECODER = json.JSONDecoder(strict=False)  # raw control characters in strings are common in scraped captions


@dataclass(frozen=True)
class Element:
    """One element of a top-level array. key: the array's name ("" where the file is the array).

    value: decoded as Latin-1, so that positions are bytes: right for numbers, comparing and ASCII, not for captions.
    """

    key: str
    start: int
    stop: int
    value: Any


def as_row(value: Any) -> Any:
    """A row that is a list of a picture's name and its texts, in any order, as the object that it stands for; others as they are."""
    if not isinstance(value, list) or not all(isinstance(one, (str, list)) for one in value):
        return value
    names = [one for one in value if isinstance(one, str) and is_image(one)]
    texts = [one for one in value if one not in names]
    if len(names) != 1 or not texts:
        return value
    return {"image": names[0], "caption": texts[0] if len(texts) == 1 else texts}


class Broken(ValueError):
    """Not JSON, at a byte."""


class Window:
    """A moving window over a file, one character a byte."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.text, self.at, self.base, self.ended = file, "", 0, 0, False
        self.more()
        if self.text.startswith("\xef\xbb\xbf"):  # UTF-8's byte order mark
            self.at = 3

    def more(self) -> None:
        left = self.text[self.at :]
        chunk = self.file.read(max(CHUNK, len(left)))
        self.base, self.at, self.ended = self.base + self.at, 0, not chunk
        self.text = left + chunk.decode("latin-1")

    def next(self) -> str:
        """The next character that is no blank, or "" at the end; it stays."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in " \t\r\n":
                self.at += 1
            if self.at < len(self.text) or self.ended:
                return self.text[self.at : self.at + 1]
            self.more()

    def take(self, wanted: str) -> None:
        if self.next() != wanted:
            raise Broken(f"byte {self.base + self.at:,}: expected {wanted!r}")
        self.at += 1

    def value(self) -> Any:
        """The value that starts here, whole."""
        self.next()
        while True:
            try:
                value, end = DECODER.raw_decode(self.text, self.at)
                if end < len(self.text) or self.ended:  # else a number might go on
                    self.at = end
                    return value
            except json.JSONDecodeError as error:
                wrong = error.pos < len(self.text) - SLACK and not error.msg.startswith("Unterminated string")
                if wrong or self.ended:
                    raise Broken(f"byte {self.base + error.pos:,}: {error.msg}") from error
            except (RecursionError, ValueError) as error:  # nested too deep; a number of thousands of digits
                raise Broken(f"byte {self.base + self.at:,}: {error}") from error
            self.more()


def elements(path: Path) -> Iterator[Element]:
    """The elements of the array that a file is, or of the arrays that its object holds. Raises Broken."""
    with open(path, "rb") as file:
        window = Window(file)
        if window.next() == "[":
            yield from _array(window, "")
        else:
            yield from _object(window)
        if window.next():
            raise Broken(f"byte {window.base + window.at:,}: more after the end")


def _array(window: Window, key: str) -> Iterator[Element]:
    window.take("[")
    while window.next() != "]":
        start = window.base + window.at
        value = window.value()
        yield Element(key, start, window.base + window.at, as_row(value))
        if window.next() != "]":
            window.take(",")
    window.take("]")


def _object(window: Window) -> Iterator[Element]:
    window.take("{")
    while window.next() != "}":
        key = window.value()
        window.take(":")
        if window.next() == "[":
            yield from _array(window, str(key))
        else:
            window.value()
        if window.next() != "}":
            window.take(",")
    window.take("}")


def peek(path: Path, until: tuple[str, ...] = TELLING) -> dict[str, dict[str, Any]]:
    """What objects each array holds, by its name: the first one, and of the next ones the fields that it lacks, up to a telling
    array; {} where it is not JSON."""
    objects: dict[str, dict[str, Any]] = {}
    seen, last = 0, ""
    try:
        for count, element in enumerate(elements(path)):
            if seen and element.key not in ("", *until):
                break
            if isinstance(element.value, dict):
                before = objects.setdefault(element.key, element.value)
                if before is not element.value:
                    objects[element.key] = {**element.value, **before}
            if element.key in ("", *until):
                seen += 1
                if seen >= PEEKED or (seen > 1 and element.key != last):
                    break
            last = element.key
            if count > 1_000_000:
                break
    except Broken:
        pass
    return objects


def row_arrays(first: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of what the arrays of a file hold (`peek`) those that may be rows of pictures: the file's own, or all but COCO's."""
    is_coco = "images" in first or "image_id" in first.get("annotations", {})
    return {key: row for key, row in first.items() if not key or not ("" in first or is_coco)}


def entries(path: Path, within: str = "") -> Iterator[Element]:
    """The entries of the object that a file is, or of the one in it under the key `within`; their start is that of their keys. Raises
    Broken."""
    with open(path, "rb") as file:
        window = Window(file)
        if not within:
            yield from _entries(window)
        for key in _keys(window) if within else ():
            if key == within and window.next() == "{":
                yield from _entries(window)
            else:
                window.value()
        if window.next():
            raise Broken(f"byte {window.base + window.at:,}: more after the end")


def _keys(window: Window) -> Iterator[str]:
    """The keys of an object; the value of each is to be read before the next."""
    window.take("{")
    while window.next() != "}":
        key = str(window.value())
        window.take(":")
        yield key
        if window.next() != "}":
            window.take(",")
    window.take("}")


def _entries(window: Window) -> Iterator[Element]:
    window.take("{")
    while window.next() != "}":
        start = window.base + window.at
        key = window.value()
        window.take(":")
        value = window.value()
        yield Element(str(key), start, window.base + window.at, value)
        if window.next() != "}":
            window.take(",")
    window.take("}")


def map_of(path: Path, is_name: Callable[[str], bool]) -> str | None:
    """The key of the object in a file whose first keys are all names of a kind: "" for the file itself; None where there is none."""
    try:
        with open(path, "rb") as file:
            if _begins_with_names(_entries(Window(file)), is_name):
                return ""
        with open(path, "rb") as file:
            window = Window(file)
            for key in _keys(window):
                if window.next() != "{":
                    window.value()
                    continue
                within = _entries(window)
                few = list(islice(within, FEW))
                if any(isinstance(entry.value, str) and is_image(entry.value) for entry in few):
                    return None  # the columns of a table: its keys are rows
                if few and all(is_name(entry.key) for entry in few):
                    return key
                for _ in within:
                    pass
    except Broken:
        pass
    return None


def _begins_with_names(entries: Iterator[Element], is_name: Callable[[str], bool]) -> bool:
    few: list[bool] = []
    try:
        few += (is_name(entry.key) for entry in islice(entries, FEW))
    except Broken:
        pass
    return bool(few) and all(few)


def has(path: Path, key: str, field: str) -> bool:
    """Whether an object of an array has a field, among its first."""
    try:
        seen = 0
        for element in elements(path):
            if element.key == key:
                if isinstance(element.value, dict) and field in element.value:
                    return True
                seen += 1
                if seen >= PEEKED:
                    return False
    except Broken:
        pass
    return False


def others(path: Path, without: tuple[str, ...] = TELLING) -> dict[str, Any]:
    """What the object of a file holds beside some arrays, with its texts. {} where it is not JSON to its end."""
    rest: dict[str, Any] = {}
    try:
        with open(path, "rb") as file:
            window = Window(file)
            window.take("{")
            while window.next() != "}":
                key = str(window.value())
                window.take(":")
                if key in without and window.next() == "[":
                    for _ in _array(window, key):
                        pass
                else:
                    window.next()
                    start = window.base + window.at
                    window.value()
                    raw = os.pread(file.fileno(), window.base + window.at - start, start)
                    rest[key] = json.loads(decode(raw)[0], strict=False)
                if window.next() != "}":
                    window.take(",")
    except (ValueError, OSError):
        return {}
    return rest


def spans(path: Path, key: str, group: str | None = None) -> list[tuple[int, int]]:
    """Byte spans of SIZE elements of one array. Neighbours with the same value under `group` stay in one span.

    Raises Mistake where the file is not JSON to its end.
    """
    return _spans((element for element in sound(path) if element.key == key), group)


def entry_spans(path: Path, within: str = "") -> list[tuple[int, int]]:
    """Byte spans of SIZE entries of the object that a file is, or of the one under a key. Raises Mistake where the file is not JSON to
    its end."""
    return _spans(_named(path, entries(path, within)))


def _spans(elements: Iterable[Element], group: str | None = None) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    count, first, last, before = 0, 0, 0, None
    for element in elements:
        same = element.value.get(group) if group and isinstance(element.value, dict) else None
        if count >= SIZE and (same is None or same != before):
            ranges.append((first, last))
            count = 0
        first, last, before = (first if count else element.start), element.stop, same
        count += 1
    return [*ranges, (first, last)] if count else ranges


def sound(path: Path) -> Iterator[Element]:
    """`elements`, with the Mistake that names the file where it is not JSON."""
    return _named(path, elements(path))


def _named(path: Path, elements: Iterator[Element]) -> Iterator[Element]:
    try:
        yield from elements
    except Broken as error:
        do = "Mend or download the file again; nothing was changed."
        raise Mistake(f"{path} is not valid JSON.", f"At {error}.", do) from error


def rows(path: Path, start: int, stop: int) -> list[Any]:
    """The elements in a span of bytes, decoded as text. Raises Mistake where the file has changed since it was listed."""
    return [as_row(value) for value in _loaded(path, start, stop, "[]", dict)]


def rows_of_entries(path: Path, start: int, stop: int) -> list[tuple[str, Any]]:
    """The entries of an object in a span of bytes, also those of the same key. Raises Mistake where the file has changed."""
    outer: list[tuple[str, Any]] = []

    def remember(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal outer
        outer = pairs  # the whole object comes last
        return dict(pairs)

    _loaded(path, start, stop, "{}", remember)
    return outer


def _loaded(path: Path, start: int, stop: int, around: str, hook: Callable[[list[tuple[str, Any]]], Any]) -> Any:  # fmt: skip
    with open(path, "rb") as file:
        file.seek(start)
        raw = file.read(stop - start)
    try:
        return json.loads(around[0] + decode_known(raw)[0] + around[1], strict=False, object_pairs_hook=hook)
    except UnknownCharset as error:
        do = "JSON is UTF-8: convert the file first."
        raise Mistake(f"{path} cannot be read.", f"From byte {start:,}: {error}.", do) from error
    except ValueError as error:
        raise Mistake(
            f"{path} is not what it was.", f"Bytes {start:,} to {stop:,} are other.", "Run again."
        ) from error
