"""Pairs: pictures with their texts, of any format. Does not know: networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pairloom.data.datasets._pictures import picture_column
from pairloom.data.feed import Feed
from pairloom.data.index import ImageIndex
from pairloom.data.loader import Loader, NumberColumn, TextColumn, TextTable
from pairloom.data.order import Rows
from pairloom.data.region_set import RegionSet
from pairloom.data.shards import open_set
from pairloom.data.tokens import Tokens


class Dataset:
    """Dataset adapter (see `data/datasets`)."""

    def __init__(self, path: Path, folder: Path | None, regions: RegionSet | None = None) -> None:
        self.index = ImageIndex.of(open_set(path).pairs(), folder, regions)
        self.count = len(self.index.texts)
        self.split = self.index.split
        self.words = self.index.words
        self.table: TextTable | None = None

    def ids(self) -> Rows:
        """[M] equal numbers for pictures that are no negatives of each other: those of the same bytes."""
        return self.index.ids()

    def loader(
        self, tokens: Tokens, config: Any, feed: Feed, rows: Rows, training: bool, workers: int
    ) -> Loader:
        """One text of each picture in every epoch."""
        if self.table is None:
            self.table = TextTable.of(tokens, self.index.words(), config.length)
        pictures = picture_column(self.index, feed, training, self.table.sided)
        columns = (pictures, TextColumn(self.table), NumberColumn("image_ids", self.ids()))
        return Loader(columns, self.table, rows, workers=workers)
