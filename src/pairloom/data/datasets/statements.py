"""Statements about several pictures, true or false (Suhr et al., 2019).

In training a statement about two pictures comes as it is or, as often, with the pictures exchanged and the words "left" and
"right" with them, as in the released code of BLIP; outside training never (that code exchanges them there, too).
A batch has `labels` [B], 1 where the statement is true.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy

from pairloom.data.datasets._gather import gather, split
from pairloom.data.datasets._pictures import picture_column
from pairloom.data.feed import Feed
from pairloom.data.loader import SIDES, Loader, NumberColumn, TextColumn, TextTable
from pairloom.data.order import Rows
from pairloom.data.region_set import RegionSet
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake

OTHER = {"left": "right", "right": "left"}
MARKS = re.compile(r'[.!"()*#:;~\s]+')


def plain(text: str) -> str:
    """A statement as the released code cleans it: lower case, these marks are blanks."""
    return MARKS.sub(" ", text.lower()).strip()


def mirrored(text: str) -> str:
    """What a statement says once its two pictures are exchanged (English)."""
    return SIDES.sub(lambda match: OTHER[match[0].lower()], text)


def demand_pictures(there: int, config: Any) -> None:
    """Mistake where statements are about another number of pictures than the system takes."""
    if there != config.pictures:
        raise Mistake(
            f"The statements are about {there} picture{'s' * (there != 1)}, the system takes {config.pictures}.",
            "Each picture of a statement has a cross-attention of its own.",
            f"Train with model.pictures={there}, or give statements about {config.pictures}.",
        )


class Dataset:
    """Dataset adapter (see `data/datasets`)."""

    def __init__(self, path: Path, folder: Path | None, regions: RegionSet | None = None) -> None:
        self.index, self.examples, self.shows = gather(
            path, folder, "statements", lambda one: "no label" if one.true is None else "", regions
        )
        self.count = len(self.examples)

    def words(self) -> Iterable[list[str]]:
        return ([plain(one.text)] for one in self.examples)

    def split(self, share: float) -> tuple[Rows, Rows]:
        return split(self.index, self.shows, share)

    def loader(
        self, tokens: Tokens, config: Any, feed: Feed, rows: Rows, training: bool, workers: int
    ) -> Loader:
        """Each statement once in every epoch. Mistake where the system takes another number of pictures."""
        demand_pictures(self.shows.shape[1], config)
        both = training and config.pictures == 2
        texts = [[plain(one.text), mirrored(plain(one.text))][: 1 + both] for one in self.examples]
        table = TextTable.of(tokens, texts, config.length)
        labels = numpy.asarray([bool(one.true) for one in self.examples], numpy.int64)
        shows = numpy.stack([self.shows, self.shows[:, ::-1]], 1).reshape(-1, 2) if both else self.shows
        columns = (
            picture_column(self.index, feed, training, table.sided, shows),
            TextColumn(table),
            NumberColumn("labels", labels),
            NumberColumn("image_ids", self.index.ids()[self.shows[:, 0]]),
        )
        return Loader(columns, table, rows, workers=workers)
