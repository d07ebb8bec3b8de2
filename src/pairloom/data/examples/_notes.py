"""Rows of annotation files, and the pictures that they speak of. Does not know: any one layout.

A row is an object of a JSON array, or of a file with one JSON object a line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pairloom.data.formats import _files, _json
from pairloom.data.formats._finder import Finder
from pairloom.data.formats._texts import decode, tidy
from pairloom.data.pair import Blob, content_hash
from pairloom.errors import Mistake

LONGEST = 1 << 20  # bytes of one line
SUFFIXES = {".json", ".jsonl"}
TELLING = {
    "question",
    "sentence",
    "statement",
    "rounds",
    "texts",
    "text_list",
    "text",
}  # columns of rows; no file that is one object has them


def files(path: Path) -> list[Path]:
    """The annotation files of a set: itself, or those in the folder and in the folders in it."""
    if path.is_file():
        return [path] if path.suffix in SUFFIXES else []
    return [path / name for name in _files.first_files(path, SUFFIXES)] if path.is_dir() else []


def first(file: Path) -> dict[str, dict[str, Any]]:
    """The first row of each array of a file by the array's name; "" where the file is the array, or has a row a line."""
    row = _line(file)
    return {"": row} if row else _json.peek(file, until=("questions", "annotations", "images"))


def _line(file: Path) -> dict[str, Any]:
    """The first line of a file with one row a line; {} of any other file."""
    with open(file, "rb") as stream:
        try:
            row = json.loads(decode(stream.readline(LONGEST))[0], strict=False)
        except (ValueError, RecursionError):
            return {}
    return row if isinstance(row, dict) and row.keys() & TELLING else {}


def rows(file: Path, key: str = "") -> Iterator[dict[str, Any]]:
    """The rows of a file, or of its array `key`. Raises Mistake where it is no JSON, or a row is no object."""
    for number, row in enumerate(_lines(file) if _line(file) else _elements(file, key), 1):
        if not isinstance(row, dict):
            raise Mistake(
                f"{file} is not a list of examples.", f"Row {number} is no JSON object.", "Mend the file."
            )
        yield row


def _lines(file: Path) -> Iterator[Any]:
    with open(file, "rb") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                try:
                    yield json.loads(decode(line)[0], strict=False)
                except ValueError as error:
                    raise Mistake(
                        f"{file} is broken.", f"Line {number}: {error}", "Mend or copy the file again."
                    ) from error


def _elements(file: Path, key: str) -> Iterator[Any]:
    for start, stop in _json.spans(file, key):
        yield from _json.rows(file, start, stop)


def word(value: Any) -> str:
    """A cell as clean text; "" for what is none."""
    return (
        tidy(value if isinstance(value, str) else str(value))[0]
        if isinstance(value, str | int | float)
        else ""
    )


class Album:
    """The pictures of a set by name, each read once: its place, and the hash of its bytes."""

    def __init__(self, root: Path, file: Path) -> None:
        self.finder = Finder(root if root.is_dir() else root.parent, file)
        self.known: dict[str, tuple[Blob, str, str]] = {}

    def find(self, names: Sequence[str]) -> tuple[Blob, str, str]:
        """The first of these names that is there: its Blob, its key, and "" or what is wrong."""
        if names[0] not in self.known:
            pictures = [self.finder.find(name) for name in filter(None, names)] or [
                self.finder.find(names[0])
            ]
            blob, problem, _ = next((one for one in pictures if not one[1]), pictures[0])
            if len(self.known) > 100_000:
                self.known.clear()
            self.known[names[0]] = (blob, "", problem) if problem else keyed(blob)
        return self.known[names[0]]


def keyed(blob: Blob) -> tuple[Blob, str, str]:
    """A picture with the hash of its bytes, or with what is wrong."""
    try:
        data = blob.read()
    except OSError as error:
        return blob, "", f"image cannot be read: {error.strerror or error}"
    return (blob, content_hash(data), "") if data else (blob, "", "image has 0 bytes")


def seen(pictures: Sequence[tuple[Blob, str, str]], *parts: str, problem: str = "") -> dict[str, Any]:
    """Pictures, keys and problem of an example, for its constructor. said: what is asked about them."""
    keys = tuple(key for _, key, _ in pictures)
    wrong = problem or next((why for _, _, why in pictures if why), "") or ("" if pictures else "no image")
    words = [word.encode("utf-8", "surrogatepass") for word in parts]
    return {
        "images": tuple(blob for blob, _, _ in pictures),
        "image_keys": keys,
        "key": content_hash(*(key.encode() for key in keys), *words),
        "problem": wrong,
    }
