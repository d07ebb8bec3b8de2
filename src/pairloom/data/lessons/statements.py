"""Statements about several pictures, true or false (Suhr et al., 2019).

In training a statement about two pictures comes as it is or, as often, with the pictures exchanged and the words "left" and
"right" with them, as in the released code of BLIP; outside training never (that code exchanges them there, too).
A batch has `labels` [B], 1 where the statement is true.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from pairloom.data.batch import Texts
from pairloom.data.index import DecodedImages
from pairloom.data.lessons._gather import gather, split
from pairloom.data.loader import SIDES, Loader, TextTable
from pairloom.data.order import Rows
from pairloom.data.pair import content_hash
from pairloom.data.pixels import Transform
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake

OTHER = {"left": "right", "right": "left"}
MARKS = re.compile(r'[.!"()*#:;~\s]+')


def plain(text: str) -> str:
    """A statement as the released code cleans it: lower case, these marks are blanks."""
    return MARKS.sub(" ", text.lower()).strip()


def mirrored(text: str) -> str:
    """What a statement says once its two pictures are exchanged (English)."""
    return SIDES.sub(lambda found: OTHER[found[0].lower()], text)


def demand_pictures(there: int, config: Any) -> None:
    """Mistake where statements are about another number of pictures than the system takes."""
    if there != config.pictures:
        raise Mistake(
            f"The statements are about {there} picture{'s' * (there != 1)}, the system takes {config.pictures}.",
            "Each picture of a statement has a cross-attention of its own.",
            f"Train with model.pictures={there}, or give statements about {config.pictures}.",
        )


class Lesson:
    """See `data/lessons`."""

    def __init__(self, path: Path, folder: Path | None) -> None:
        self.index, self.told, self.shows = gather(
            path, folder, "statements", lambda one: "no label" if one.true is None else ""
        )
        self.count = len(self.told)

    def words(self) -> Iterable[list[str]]:
        return ([plain(one.text)] for one in self.told)

    def split(self, share: float) -> tuple[Rows, Rows]:
        return split(self.index, self.shows, share)

    def loader(
        self, tokens: Tokens, config: Any, pixels: Transform, rows: Rows, training: bool, workers: int
    ) -> Loader:
        """Each statement once in every epoch. Mistake where the system takes another number of pictures."""
        demand_pictures(self.shows.shape[1], config)
        both = training and config.pictures == 2
        texts = [[plain(one.text), mirrored(plain(one.text))][: 1 + both] for one in self.told]
        says = Labels(TextTable.of(tokens, texts, config.length), [bool(one.true) for one in self.told])
        shows = numpy.stack([self.shows, self.shows[:, ::-1]], 1).reshape(-1, 2) if both else self.shows
        ids, pictures = self.index.ids()[self.shows[:, 0]], DecodedImages(self.index, pixels, training)
        return Loader(pictures, says.texts, rows, ids, workers=workers, shows=shows, says=says)


class Labels:
    """Texts, and which examples are true [M]."""

    def __init__(self, texts: TextTable, true: Iterable[bool]) -> None:
        self.texts, self.true = texts, numpy.asarray(list(true), numpy.int64)

    def fill(self, rows: Rows, texts: Rows, width: int, chance: Tensor) -> Mapping[str, Any]:
        return {"texts": Texts(*self.texts.take(texts, width)), "labels": torch.from_numpy(self.true[rows])}

    def identity(self) -> str:
        return content_hash(self.true.tobytes())
