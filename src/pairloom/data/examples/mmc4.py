"""MMC4 (Zhu et al., 2023): a page a line, {"text_list": [sentence, ...], "image_info": [{"image_name", "matched_text_index",
"matched_sim"}, ...]}. A picture stands before the sentence that it was matched to.

Pictures are looked for by "image_name", then by the last part of "raw_url"; nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pairloom.data.examples._notes import Album, files, first, rows, word
from pairloom.data.examples._pages import page
from pairloom.data.pair import Document

CLAIM = 'MMC4: rows {"text_list": [...], "image_info": [{"image_name", "matched_text_index"}, ...]}'


def sniff(path: Path) -> str:
    """By the columns of the first row."""
    return "documents" if _marked(path) else ""


def _marked(path: Path) -> list[Path]:
    return [file for file in files(path) if first(file).get("", {}).keys() >= {"text_list", "image_info"}]


def read(path: Path) -> Iterator[Document]:
    """Every page of every such file."""
    for file in _marked(path):
        album = Album(path, file)
        for number, row in enumerate(rows(file)):
            yield _page(row, word(row.get("url")) or f"{file.stem}:{number}", album)


def _page(row: dict[str, Any], name: str, album: Album) -> Document:
    sentences, images = row.get("text_list"), row.get("image_info")
    if not isinstance(sentences, list) or not isinstance(images, list):
        return page(name, (), album, "text_list or image_info is no list")
    before: dict[int, list[str]] = {}
    for one in images:
        at = one.get("matched_text_index") if isinstance(one, dict) else None
        if not isinstance(at, int) or not 0 <= at < len(sentences):
            return page(name, (), album, f"a picture is matched to sentence {at} of {len(sentences)}")
        before.setdefault(at, []).append(word(one.get("image_name")) or word(one.get("raw_url")))
    pieces = []
    for at, sentence in enumerate(sentences):
        pieces += [("image", image) for image in before.get(at, ())]
        pieces += [("text", word(sentence))] if word(sentence) else []
    return page(name, pieces, album)
