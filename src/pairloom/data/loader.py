"""Loader: pictures and texts -> Batches, in an order that depends on (seed, epoch) alone. What learns from more than pairs
(questions, statements, dialogs) says the rest of each batch (`Says`); order, pictures and resume are the same.

Everything random is drawn from (seed, epoch, step) or from a picture's key, never from a worker: any number of
workers gives the same batches, and a run can go on at any step.
Does not know: networks, losses, what the tokens say.

B rows here, G rows over all processes, M pictures or examples, N pictures of an example, K texts, T tokens.
"""

from __future__ import annotations

import re
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from pairloom.data.batch import Batch, Texts
from pairloom.data.order import Plan, Rows, epoch_order
from pairloom.data.pair import content_hash, seed_of
from pairloom.data.pixels import OPENAI_MEAN, OPENAI_STD
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake

SIDES = re.compile(
    r"\b(left|right)\b", re.IGNORECASE
)  # English only: a mirrored picture would make these false


@dataclass(frozen=True)
class TextTable:
    """The texts of M pictures (or examples) as ids in four flat arrays: 4 bytes a token, no Python object per text.

    ids [all tokens]; start [K + 1]: text k is ids[start[k]:start[k + 1]]; first [M + 1]: picture m has the texts
    first[m]:first[m + 1]; sided [K]: the text says left or right, so its picture is never mirrored.
    """

    ids: NDArray[numpy.int32]
    start: Rows
    first: Rows
    sided: NDArray[numpy.bool_]
    pad: int = 0

    @classmethod
    def of(cls, tokens: Tokens, texts: Iterable[Sequence[str]], length: int) -> TextTable:
        """Encode the texts of every picture, at most `length` tokens each."""
        sided = array("b")

        def rows() -> Iterator[list[list[int]]]:
            for group in texts:
                sided.extend(bool(SIDES.search(text)) for text in group)
                yield tokens.rows(group, length) if group else []

        made = cls.of_rows(rows(), tokens.pad)
        return replace(made, sided=numpy.asarray(sided, bool))

    @classmethod
    def of_rows(cls, groups: Iterable[Sequence[Sequence[int]]], pad: int = 0) -> TextTable:
        """From the ids of the texts of every picture; none of them says left or right."""
        ids, sizes, counts = array("i"), array("q", [0]), array("q", [0])
        for group in groups:
            for row in group:
                ids.extend(row)
                sizes.append(len(row))
            counts.append(len(group))
        start, first = (numpy.cumsum(numpy.asarray(count, numpy.int64)) for count in (sizes, counts))
        return cls(numpy.asarray(ids, numpy.int32), start, first, numpy.zeros(len(start) - 1, bool), pad)

    @classmethod
    def from_ids(cls, tokens: NDArray[Any] | Tensor, keep: NDArray[Any] | Tensor, pad: int = 0) -> TextTable:
        """From padded ids [M T] and keep [M T], one text for each picture."""
        tokens, keep = numpy.asarray(tokens), numpy.asarray(keep, dtype=bool)
        start = numpy.concatenate(([0], numpy.cumsum(keep.sum(1))))
        return cls(
            tokens[keep].astype(numpy.int32),
            start,
            numpy.arange(len(tokens) + 1),
            numpy.zeros(len(tokens), bool),
            pad,
        )

    @property
    def lengths(self) -> Rows:
        """Tokens of every text [K]."""
        return numpy.diff(self.start)

    def take(self, texts: Rows, width: int | None = None) -> tuple[Tensor, Tensor]:
        """ids [B T] and keep [B T] of these texts, T = width, or the longest of them."""
        at = numpy.arange(int(self.lengths[texts].max(initial=0)) if width is None else width)
        start = self.start[texts]
        keep = start[:, None] + at < self.start[texts + 1][:, None]
        where = numpy.where(keep, start[:, None] + at, 0)
        ids = numpy.where(keep, self.ids[where], self.pad).astype(numpy.int64)
        return torch.from_numpy(ids), torch.from_numpy(keep)


@runtime_checkable
class Says(Protocol):
    """What a batch holds beside its pictures. rows [B]: examples; texts [B]: the one drawn for each; width: tokens of the
    longest drawn for any process; chance [B 4] in [0, 1) is all the randomness it may use."""

    def fill(self, rows: Rows, texts: Rows, width: int, chance: Tensor) -> Mapping[str, Any]: ...

    def identity(self) -> str: ...


@runtime_checkable
class Pictures(Protocol):
    """Where pictures come from. `look` gives rows as normalised floats [B 3 H W], and which place [B] of these rows
    each one shows: its own, or a readable neighbour's where its own cannot be read. chance [B 4] in [0, 1) is all the
    randomness it may use; sided [B]: do not mirror."""

    def __len__(self) -> int: ...

    def look(self, rows: Rows, chance: Tensor, sided: Tensor) -> tuple[Tensor, Rows]: ...

    def identity(self) -> str: ...


@dataclass(frozen=True)
class InMemoryImages:
    """Pictures in memory or in a memory-mapped file: uint8 [M H W 3]. Whole batches at a time, nothing per picture.

    crop: smallest share of the area that a random crop keeps (1: none; BLIP: 0.5, in pre-training 0.2); the crop is
    square and resized to H x W. flip: chance of mirroring.
    """

    pixels: NDArray[numpy.uint8]
    mean: Sequence[float] = OPENAI_MEAN
    std: Sequence[float] = OPENAI_STD
    crop: float = 1.0
    flip: float = 0.0

    def __len__(self) -> int:
        return len(self.pixels)

    def identity(self) -> str:
        return repr((self.pixels.shape, self.crop, self.flip, tuple(self.mean), tuple(self.std)))

    def look(self, rows: Rows, chance: Tensor, sided: Tensor) -> tuple[Tensor, Rows]:
        raw = torch.from_numpy(numpy.ascontiguousarray(self.pixels[rows])).permute(0, 3, 1, 2).contiguous()
        made = raw.float()
        if self.crop < 1 or self.flip > 0:
            made = self._move(made, chance, sided)
        scale = 255.0 * torch.tensor(self.std)
        shift = 255.0 * torch.tensor(self.mean)
        return made.sub_(shift[:, None, None]).div_(scale[:, None, None]), numpy.arange(len(rows))

    def _move(self, images: Tensor, chance: Tensor, sided: Tensor) -> Tensor:
        """Random square crop and mirror as one resampling: an affine map of each picture."""
        side = (self.crop + (1 - self.crop) * chance[:, 0]).sqrt()
        mirror = torch.where((chance[:, 3] < self.flip) & ~sided, -1.0, 1.0)
        matrix = torch.zeros(len(images), 2, 3)
        matrix[:, 0, 0], matrix[:, 1, 1] = side * mirror, side
        matrix[:, :, 2] = (1 - side)[:, None] * (2 * chance[:, 1:3] - 1)
        grid = affine_grid(matrix, list(images.shape), align_corners=False)
        return grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


@dataclass
class Loader:
    """Batches for training.

    only: picture rows that take part (all that have a text). ids [M]: equal numbers for the same picture; every row
    its own by default. window: batches per length bucket (0: none). workers: threads that make batches ahead.
    """

    pictures: Pictures
    texts: TextTable
    only: Rows | None = None
    ids: Rows | None = None
    window: int = 16
    workers: int = 0
    shows: Rows | None = None
    says: Says | None = None
    rows: Rows = field(init=False)

    def __post_init__(self) -> None:
        if self.shows is None and len(self.texts.first) != len(self.pictures) + 1:
            raise ValueError(f"{len(self.pictures)} pictures, but texts for {len(self.texts.first) - 1}")
        written = numpy.diff(self.texts.first) > 0
        given = numpy.arange(len(written)) if self.only is None else numpy.asarray(self.only, numpy.int64)
        self.rows = given[written[given]]

    def steps(self, plan: Plan) -> int:
        """Optimiser steps in an epoch. Raises Mistake where there is not one whole batch."""
        return plan.steps(len(self.rows))

    def identity(self) -> str:
        """Changes when the data does: a run that goes on must find the data it began with."""
        arrays: list[NDArray[Any]] = [self.texts.ids, self.texts.start, self.texts.first, self.rows]
        arrays += [] if self.shows is None else [self.shows]
        told = [] if self.says is None else [self.says.identity().encode()]
        return content_hash(self.pictures.identity().encode(), *(array.tobytes() for array in arrays), *told)

    def read(self, plan: Plan, epoch: int, step: int = 0) -> Iterator[list[Batch]]:
        """The batches of an epoch from `step` on: for every optimiser step this process's `parts` micro-batches."""
        pictures, texts = epoch_order(
            plan, epoch, self.rows, self.texts.first, self.texts.lengths, self.window
        )

        def make(at: int) -> list[Batch]:
            return self._make(plan, pictures[at], texts[at], seed_of("look", plan.seed, epoch, at))

        if not self.workers:
            yield from map(make, range(step, len(pictures)))
            return
        with ThreadPoolExecutor(self.workers, thread_name_prefix="pairloom-loader") as pool:
            waiting: deque[Future[list[Batch]]] = deque()
            try:
                for at in range(step, len(pictures)):
                    waiting.append(pool.submit(make, at))
                    if len(waiting) > 2 * self.workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _make(self, plan: Plan, pictures: Rows, texts: Rows, seed: int) -> list[Batch]:
        """One optimiser step. Chances are drawn for all G rows and T is the longest of them, so that a row is the
        same whichever process holds it."""
        pictures_each = 1 if self.shows is None else self.shows.shape[1]
        chance = torch.rand(plan.batch, 4 * pictures_each, generator=torch.Generator().manual_seed(seed))
        width = int((self.texts.start[texts + 1] - self.texts.start[texts]).max())
        made = []
        for span in plan.spans():
            images, shown = self._look(pictures[span], texts[span], chance[span])
            rows, drawn = pictures[span][shown], texts[span][shown]
            ids = torch.from_numpy(rows if self.ids is None else self.ids[rows])
            said = (self.says or self).fill(rows, drawn, width, chance[span])
            made.append(Batch(images=images, image_ids=ids, **said))
        return made

    def fill(self, rows: Rows, texts: Rows, width: int, chance: Tensor) -> Mapping[str, Any]:
        """What pairs say: their texts."""
        return {"texts": Texts(*self.texts.take(texts, width))}

    def _look(self, rows: Rows, texts: Rows, chance: Tensor) -> tuple[Tensor, Rows]:
        """Pictures [B N 3 H W], and the place of the row that each shows: a row with a picture that cannot be read
        shows another row's, whole."""
        shows = rows[:, None] if self.shows is None else self.shows[texts]
        each = shows.shape[1]
        sided = torch.from_numpy(self.texts.sided[texts]).repeat_interleave(each)
        images, shown = self.pictures.look(shows.ravel(), chance.reshape(-1, 4), sided)
        images = images.unflatten(0, (-1, each))
        if each == 1:
            return images, shown
        whole = numpy.flatnonzero(
            (shown.reshape(-1, each) == numpy.arange(shows.size).reshape(-1, each)).all(1)
        )
        if not len(whole):
            raise Mistake(
                "Not one example of a whole batch can be seen.", "Some of its pictures cannot be read.", ""
            )
        place = numpy.arange(len(rows))
        bad = numpy.setdiff1d(place, whole)
        place[bad] = whole[bad % len(whole)]
        return images[torch.from_numpy(place)], place
