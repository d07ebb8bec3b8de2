"""Pairs: pictures with their texts, of any format. Does not know: networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pairloom.data.index import DecodedImages, ImageIndex
from pairloom.data.loader import Loader, TextTable, pair_loader
from pairloom.data.order import Rows
from pairloom.data.shards import open_set
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform


class Dataset:
    """Dataset adapter (see `data/datasets`)."""

    def __init__(self, path: Path, folder: Path | None) -> None:
        self.index = ImageIndex.of(open_set(path).pairs(), folder)
        self.count = len(self.index.texts)
        self.split = self.index.split
        self.words = self.index.words
        self.table: TextTable | None = None

    def loader(
        self, tokens: Tokens, config: Any, pixels: Transform, rows: Rows, training: bool, workers: int
    ) -> Loader:
        """One text of each picture in every epoch."""
        if self.table is None:
            self.table = TextTable.of(tokens, self.index.words(), config.length)
        pictures = DecodedImages(self.index, pixels, training)
        return pair_loader(pictures, self.table, rows, self.index.ids(), workers=workers)
