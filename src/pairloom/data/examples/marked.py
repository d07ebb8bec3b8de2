"""Documents of one's own: rows {"text": "... <image> ...", "images": [name, ...]}, one <image> for each picture in its place.
As JSON lines or a JSON array.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pairloom.data.examples._notes import Album, files, first, rows, word
from pairloom.data.examples._pages import page
from pairloom.data.formats._texts import words_of
from pairloom.data.pair import Document

CLAIM = 'documents: rows {"text": "... <image> ...", "images": [...]}'
MARK = "<image>"


def sniff(path: Path) -> str:
    """By the first row: a text with a mark, and pictures."""
    return "documents" if _marked(path) else ""


def _marked(path: Path) -> list[Path]:
    return [file for file in files(path) if _is_ours(first(file).get("", {}))]


def _is_ours(row: dict[str, Any]) -> bool:
    return isinstance(row.get("images"), list) and MARK in str(row.get("text"))


def read(path: Path) -> Iterator[Document]:
    """Every document of every such file."""
    for file in _marked(path):
        album = Album(path, file)
        for number, row in enumerate(rows(file)):
            name = word(row.get("id")) or f"{file.stem}:{number}"
            texts, images = word(row.get("text")).split(MARK), words_of(row.get("images"))
            problem = ""
            if len(texts) - 1 != len(images):
                problem = f"its text marks {len(texts) - 1} pictures, and it has {len(images)}"
            pieces = [("text", texts[0].strip())]
            for text, image in zip(texts[1:], images):
                pieces += [("image", image), ("text", text.strip())]
            yield page(name, pieces, album, problem)
