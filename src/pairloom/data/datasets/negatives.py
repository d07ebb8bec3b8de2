"""Negatives: pictures of a folder with their texts and wrong texts and wrong pictures, as a table in NegCLIP's layout tells
them (`data/negatives.py`). Does not know: what is learned from them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pairloom.data.index import DecodedImages, ImageIndex
from pairloom.data.loader import Loader
from pairloom.data.negatives import MIX, negative_loader, read_negatives
from pairloom.data.order import Rows
from pairloom.data.pair import Blob, content_hash
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform
from pairloom.errors import Mistake


class Dataset:
    """Dataset adapter (see `data/datasets`); table: the file. Rows whose picture is not there are left out and counted, as negatives too.

    Raises Mistake where none is left.
    """

    def __init__(self, path: Path, folder: Path | None, table: Path) -> None:
        self.index = ImageIndex(folder)
        listed = read_negatives(table)
        places: dict[int, int] = {}
        keys: dict[str, str] = {}
        for row, hard in enumerate(listed):
            blob = Blob(path / hard.picture)
            try:
                keys.setdefault(hard.picture, content_hash(blob.read()))
            except OSError:
                self.index.skipped["a picture is missing"] += 1
                continue
            places[row] = self.index.place(blob, keys[hard.picture])
        if not places:
            first = (
                f"The first should lie at {path / listed[0].picture}." if listed else f"{table} has no rows."
            )
            raise Mistake(
                "There is nothing to learn from.",
                first,
                "--data is the folder that the table's files lie in.",
            )
        self.table = [
            replace(listed[row], images=tuple(places[at] for at in listed[row].images if at in places))
            for row in places
        ]
        self.count = len(self.table)
        self.split = self.index.split

    def words(self) -> Iterable[list[str]]:
        return ([hard.text, *hard.texts] for hard in self.table)

    def loader(
        self, tokens: Tokens, config: Any, pixels: Transform, rows: Rows, training: bool, workers: int
    ) -> Loader:
        """Every row once in every epoch, with negatives of the released mix; held out, without."""
        pictures = DecodedImages(self.index, pixels, training)
        return negative_loader(pictures, self.table, tokens, config.length, MIX if training else {}, rows)
