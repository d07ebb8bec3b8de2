"""Hard negatives beside pairs: tables in NegCLIP's layout, and batches that carry wrong texts or wrong pictures.

The layout (Yuksekgonul et al., 2022): tab-separated, with a number, title, filepath, neg_caption (a list in Python's
spelling of one to five texts) and neg_image (a list of rows of the same table whose pictures look alike).
Does not know: what is learned from negatives.

B rows of a batch, T tokens.
"""

from __future__ import annotations

import ast
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch

from pairloom.data.batch import Texts
from pairloom.data.loader import (
    Column,
    Drawn,
    Loader,
    NumberColumn,
    Pictures,
    PixelColumn,
    TextColumn,
    TextTable,
)  # fmt: skip
from pairloom.data.order import Rows
from pairloom.data.pair import content_hash, seed_of
from pairloom.data.records import Negatives
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake

MIX = {
    "image": 0.5,
    "text": 0.25,
    "random": 0.25,
}  # what a batch of the released training has as its negatives
COLUMNS = ("title", "filepath", "neg_caption", "neg_image")


@dataclass(frozen=True)
class Hard:
    """One pair and its negatives: wrong texts, and rows whose pictures look alike."""

    text: str
    picture: str
    texts: tuple[str, ...]
    images: tuple[int, ...]


def read_negatives(file: Path) -> list[Hard]:
    """A table in NegCLIP's layout. Mistake that names the line that is not whole, or the column that is missing."""
    try:
        with open(file, encoding="utf-8", newline="") as stream:
            table = csv.DictReader(stream, delimiter="\t")
            lacking = [name for name in COLUMNS if name not in (table.fieldnames or ())]
            if lacking:
                raise Mistake(
                    f"{file} has no column {' and no '.join(lacking)}.", "", "Give a table of NegCLIP."
                )
            rows = [_row(row, file, number) for number, row in enumerate(table, 2)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Mistake(f"{file} cannot be read.", str(error), "Copy the file again.") from error
    for number, row in enumerate(rows, 2):
        if any(not 0 <= at < len(rows) for at in row.images):
            raise Mistake(
                f"Line {number} of {file} names a picture that the table has not.",
                f"Rows {list(row.images)} of {len(rows)}.",
                "Copy the file again: it is not whole.",
            )
    return rows


def _row(row: dict[str, Any], file: Path, number: int) -> Hard:
    try:
        texts, images = (ast.literal_eval(row[name]) for name in ("neg_caption", "neg_image"))
        if not (isinstance(texts, list) and isinstance(images, list) and row["title"] and row["filepath"]):
            raise ValueError("a list or a text is missing")
        return Hard(row["title"], row["filepath"], tuple(map(str, texts)), tuple(map(int, images)))
    except (ValueError, SyntaxError, TypeError) as error:
        raise Mistake(f"Line {number} of {file} is not whole.", str(error), "Copy the file again.") from error


@dataclass(frozen=True)
class NegativeColumn:
    """`negatives`, of one kind for each step: wrong pictures, or wrong texts; drawn by `mix`, from (seed, epoch, step) alone.
    A row without negatives of the kind gets another row's text or picture.

    pictures: one for each row of `table`; rows: which take part, also as others' pictures and texts. texts: of each row its
    own, then its wrong ones.
    """

    pictures: Pictures
    table: Sequence[Hard]
    texts: TextTable
    rows: Rows
    mix: Mapping[str, float]
    chances: int = 0

    def identity(self) -> str:
        alike = repr([row.images for row in self.table])
        return content_hash(self.texts.identity().encode(), alike.encode(), repr(dict(self.mix)).encode())

    def read(self, drawn: Drawn) -> tuple[Mapping[str, Any], Rows | None]:
        draw = numpy.random.default_rng(seed_of("negatives", *drawn.step))
        kind = str(draw.choice(list(self.mix), p=list(self.mix.values())))
        other = drawn.here(numpy.array([self._other(int(row), kind, draw) for row in drawn.rows]))
        if kind != "image":
            return {"negatives": Negatives(texts=Texts(*self.texts.take(other)))}, None
        still = torch.zeros(len(other), 4), torch.ones(len(other), dtype=torch.bool)
        return {"negatives": Negatives(images=self.pictures.look(other, *still)[0][:, None])}, None

    def _other(self, row: int, kind: str, draw: numpy.random.Generator) -> int:
        """The wrong text, or the row of the wrong picture."""
        mine = self.table[row]
        if kind == "text" and mine.texts:
            return int(self.texts.first[row] + 1 + draw.integers(len(mine.texts)))
        alike = [at for at in mine.images if at != row and self._takes_part(at)]
        if kind == "image" and alike:
            return alike[int(draw.integers(len(alike)))]
        place = int(numpy.searchsorted(self.rows, row))
        far = int(self.rows[(place + 1 + draw.integers(max(1, len(self.rows) - 1))) % len(self.rows)])
        return far if kind == "image" else int(self.texts.first[far])

    def _takes_part(self, row: int) -> bool:
        place = int(numpy.searchsorted(self.rows, row))
        return place < len(self.rows) and int(self.rows[place]) == row


def negative_loader(
    pictures: Pictures,
    table: Sequence[Hard],
    tokens: Tokens,
    length: int,
    mix: Mapping[str, float],
    only: Rows | None = None,
) -> Loader:
    """The loader of pairs with hard negatives: pictures as they are, one for each row of `table`. length: of texts. mix {}: no
    negatives (the same batches without them). only: rows that take part (all)."""
    rows = numpy.arange(len(table)) if only is None else only
    own = TextTable.of(tokens, ([row.text] for row in table), length)
    columns: list[Column] = [
        PixelColumn(pictures, own.sided, still=True),
        TextColumn(own),
        NumberColumn("image_ids"),
    ]
    if mix:
        every = TextTable.of(tokens, ([row.text, *row.texts] for row in table), length)
        columns.append(NegativeColumn(pictures, table, every, rows, mix))
    return Loader(columns, own, rows, window=0)
