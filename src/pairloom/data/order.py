"""Order: which rows make which batch, as a function of (seed, epoch) alone.

Any step of any epoch can be asked for without going through those before it: that is what makes resume exact.
Does not know: pictures, strings, files.

M pictures, K texts, G rows of one optimiser step over all processes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from pairloom.data.pair import seed_of
from pairloom.errors import Mistake

Rows = NDArray[numpy.int64]


@dataclass(frozen=True)
class Plan:
    """How an epoch is cut. batch: G, rows of one optimiser step over all `world` processes and all `parts`
    (micro-batches whose gradients add up). A process of rank r gets the r-th run of rows, cut into `parts` runs:
    the union over processes is the batch that one process would have had."""

    batch: int
    seed: int = 0
    parts: int = 1
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.batch < 1 or self.parts < 1 or self.world < 1 or not 0 <= self.rank < self.world:
            raise ValueError("a plan needs a positive batch, parts and world, and a rank inside it")
        if self.batch % (self.parts * self.world):
            raise Mistake(
                f"batch={self.batch} cannot be cut evenly.",
                f"{self.world} processes take {self.parts} parts each.",
                f"Choose a multiple of {self.parts * self.world}.",
            )

    def spans(self) -> list[slice]:
        """The runs of this process's rows inside the batch, one for each part."""
        size = self.batch // (self.parts * self.world)
        start = self.rank * self.parts * size
        return [slice(start + part * size, start + (part + 1) * size) for part in range(self.parts)]

    def steps(self, rows: int) -> int:
        """Whole batches in an epoch of `rows`; the rest sits out, another rest in every epoch."""
        if rows < self.batch:
            raise Mistake(
                f"batch={self.batch} is more than the {rows} usable pairs.",
                "One optimiser step needs a whole batch.",
                f"Set batch={max(1, rows)} or less.",
            )
        return rows // self.batch


def epoch_order(
    plan: Plan, epoch: int, only: Rows, first: Rows, lengths: Rows, window: int
) -> tuple[Rows, Rows]:
    """Pictures [steps G] and the text [steps G] chosen for each, in the order of this epoch.

    only: the picture rows that take part; first [M + 1]: the texts of picture m are first[m]:first[m + 1];
    lengths [K]: tokens of each text. One text of each picture is drawn. Inside runs of `window` batches rows are
    sorted by length, so that a batch holds texts of like length (0 or 1: no bucketing); batches are then shuffled.
    """
    draw = numpy.random.default_rng(seed_of("order", plan.seed, epoch))
    steps = plan.steps(len(only))
    pictures = draw.permutation(only)[: steps * plan.batch]
    count = first[pictures + 1] - first[pictures]
    texts = first[pictures] + (draw.random(len(pictures)) * count).astype(numpy.int64)
    if window > 1:
        run = numpy.arange(len(pictures)) // (window * plan.batch)
        by_length = numpy.lexsort((lengths[texts], run)).reshape(steps, plan.batch)
        mixed = draw.permuted(draw.permutation(by_length), axis=1)
        pictures, texts = pictures[mixed], texts[mixed]
    return pictures.reshape(steps, plan.batch), texts.reshape(steps, plan.batch)
