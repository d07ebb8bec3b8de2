"""NLVR2 (Suhr et al., 2019) as published: one JSON object a line with "identifier", "sentence" and "label", two photos each.

The photos of train-10171-0-0 are train-10171-0-img0.png (left) and -img1.png (right), in a folder of their own where the
row gives a "directory". Does not know: the web addresses (nothing is fetched).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pairloom.data.examples._notes import Album, files, first, rows, seen, word
from pairloom.data.pair import Statement

CLAIM = 'NLVR2: a line {"identifier", "sentence", "left_url", "right_url", "label"} each'


def sniff(path: Path) -> str:
    return "statements" if _marked(path) else ""


def _marked(path: Path) -> list[Path]:
    wanted = {"identifier", "sentence", "left_url", "right_url"}
    return [file for file in files(path) if wanted <= first(file).get("", {}).keys()]


def read(path: Path) -> Iterator[Statement]:
    """Every statement with its two pictures, left first. A group is what shares a sentence."""
    for file in _marked(path):
        album = Album(path, file)
        for row in rows(file):
            text, name = word(row.get("sentence")), word(row.get("identifier"))
            pictures = [album.find(_names(row, name, side)) for side in (0, 1)]
            label = {"True": True, "False": False}.get(word(row.get("label")).capitalize())
            yield Statement(
                **seen(pictures, text, problem="" if text else "no statement"),
                name=name, text=text, true=label, group=text,
            )  # fmt: skip


def _names(row: dict[str, Any], name: str, side: int) -> list[str]:
    """Where a photo may lie, the published places first."""
    photo = f"{name.rpartition('-')[0]}-img{side}.png"
    split, folder = name.partition("-")[0], word(row.get("directory"))
    inside = (
        [f"images/{split}/{folder}/{photo}", f"{split}/{folder}/{photo}", f"{folder}/{photo}"]
        if folder
        else []
    )
    return [*inside, f"images/{split}/{photo}", f"{split}/{photo}", photo]
