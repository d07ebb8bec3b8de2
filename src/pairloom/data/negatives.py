"""Hard negatives beside pairs: tables in NegCLIP's layout, and batches that carry wrong texts or wrong pictures.

The layout (Yuksekgonul et al., 2022): tab-separated, with a number, title, filepath, neg_caption (a list in Python's
spelling of one to five texts) and neg_image (a list of rows of the same table whose pictures look alike).
Does not know: what is learned from negatives.

B rows of a batch, T tokens.
"""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import torch

from pairloom.data.batch import Batch, Negatives, Texts
from pairloom.data.loader import Pictures
from pairloom.data.order import Plan, Rows
from pairloom.data.pair import content_hash, seed_of
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


@dataclass
class NegativeBatches:
    """Batches for training, each with one kind of `negatives`, pictures or texts; drawn for each batch by `mix`, from (seed, epoch, step) alone. A row without negatives of the kind
    gets another row's text or picture.

    pictures: one for each row of `table`. length: of texts. mix {}: no negatives (the same batches without them). only:
    rows that take part, also as others' pictures and texts (all).
    """

    pictures: Pictures
    table: Sequence[Hard]
    tokens: Tokens
    length: int
    mix: dict[str, float]
    only: Rows | None = None
    rows: Rows = field(init=False)

    def __post_init__(self) -> None:
        self.rows = numpy.arange(len(self.table)) if self.only is None else self.only

    def steps(self, plan: Plan) -> int:
        """Optimiser steps in an epoch. Raises Mistake where there is not one whole batch."""
        return plan.steps(len(self.rows))

    def identity(self) -> str:
        """Changes when the data does."""
        told = repr([(row.text, row.texts, row.images) for row in self.table])
        words = (told, repr(self.rows.tolist()), repr(self.mix))
        return content_hash(self.pictures.identity().encode(), *(word.encode() for word in words))

    def read(self, plan: Plan, epoch: int, step: int = 0) -> Iterator[list[Batch]]:
        """The batches of an epoch from `step` on."""
        order = numpy.random.default_rng(seed_of("order", plan.seed, epoch)).permutation(self.rows)
        for at in range(step, self.steps(plan)):
            draw = numpy.random.default_rng(seed_of("negatives", plan.seed, epoch, at))
            chosen = order[at * plan.batch : (at + 1) * plan.batch]
            kind = str(draw.choice(list(self.mix), p=list(self.mix.values()))) if self.mix else ""
            other = [self._other(int(row), kind, draw) for row in chosen]
            yield [self._batch(chosen[span], other[span], kind) for span in plan.spans()]

    def _other(self, row: int, kind: str, draw: numpy.random.Generator) -> Any:
        """The wrong text, or the row of the wrong picture."""
        mine = self.table[row]
        if kind == "text" and mine.texts:
            return mine.texts[int(draw.integers(len(mine.texts)))]
        alike = [at for at in mine.images if at != row and self._takes_part(at)]
        if kind == "image" and alike:
            return alike[int(draw.integers(len(alike)))]
        place = int(numpy.searchsorted(self.rows, row))
        far = int(self.rows[(place + 1 + draw.integers(max(1, len(self.rows) - 1))) % len(self.rows)])
        return far if kind == "image" else self.table[far].text

    def _takes_part(self, row: int) -> bool:
        place = int(numpy.searchsorted(self.rows, row))
        return place < len(self.rows) and int(self.rows[place]) == row

    def _look(self, rows: Any) -> tuple[torch.Tensor, Any]:
        """Pictures [B 1 3 H W] as they are, and which place each shows: a neighbour's where its own cannot be read."""
        given = numpy.asarray(rows, numpy.int64)
        still = torch.zeros(len(given), 4), torch.ones(len(given), dtype=torch.bool)
        images, shown = self.pictures.look(given, *still)
        return images[:, None], shown

    def _batch(self, chosen: Any, other: list[Any], kind: str) -> Batch:
        images, shown = self._look(chosen)
        chosen, other = chosen[shown], [other[at] for at in shown]
        texts = Texts(*self.tokens.encode([self.table[int(row)].text for row in chosen], self.length))
        ids = torch.from_numpy(numpy.asarray(chosen, numpy.int64))
        negatives = None
        if kind == "image":
            negatives = Negatives(images=self._look(other)[0])
        elif kind:
            negatives = Negatives(texts=Texts(*self.tokens.encode(other, self.length)))
        return Batch(images=images, texts=texts, image_ids=ids, negatives=negatives)
