"""Loader: pictures and texts -> Batches, in an order that depends on (seed, epoch) alone. A batch is made of columns (pixels,
regions, codes, texts, labels ...); what learns from more than pairs adds its own, and order and resume are the same.

Everything random is drawn from (seed, epoch, step) or from a picture's key, never from a worker: any number of
workers gives the same batches, and a run can go on at any step.
Does not know: networks, losses, what the tokens say.

B rows here, G rows over all processes, M pictures or examples, N pictures of an example, K texts, T tokens.
"""

from __future__ import annotations

import re
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from pairloom.data.records import Codes
from pairloom.data.tokens import Tokens
from pairloom.data.transform import OPENAI_MEAN, OPENAI_STD
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

        table = cls.of_rows(rows(), tokens.pad)
        return replace(table, sided=numpy.asarray(sided, bool))

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
    def from_ids(cls, tokens: NDArray[Any] | Tensor, mask: NDArray[Any] | Tensor, pad: int = 0) -> TextTable:
        """From padded ids [M T] and keep [M T], one text for each picture."""
        tokens, mask = numpy.asarray(tokens), numpy.asarray(mask, dtype=bool)
        start = numpy.concatenate(([0], numpy.cumsum(mask.sum(1))))
        return cls(
            tokens[mask].astype(numpy.int32),
            start,
            numpy.arange(len(tokens) + 1),
            numpy.zeros(len(tokens), bool),
            pad,
        )

    @classmethod
    def none(cls, examples: int) -> TextTable:
        """One empty text for each example."""
        return cls.of_rows([[[]]] * examples)

    def identity(self) -> str:
        """Changes when the texts do."""
        return content_hash(self.ids.tobytes(), self.start.tobytes(), self.first.tobytes())

    @property
    def lengths(self) -> Rows:
        """Tokens of every text [K]."""
        return numpy.diff(self.start)

    def take(self, texts: Rows, width: int | None = None) -> tuple[Tensor, Tensor]:
        """ids [B T] and keep [B T] of these texts, T = width, or the longest of them."""
        at = numpy.arange(int(self.lengths[texts].max(initial=0)) if width is None else width)
        start = self.start[texts]
        mask = start[:, None] + at < self.start[texts + 1][:, None]
        where = numpy.where(mask, start[:, None] + at, 0)
        ids = numpy.where(mask, self.ids[where], self.pad).astype(numpy.int64)
        return torch.from_numpy(ids), torch.from_numpy(mask)


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
        images_float = raw.float()
        if self.crop < 1 or self.flip > 0:
            images_float = self._move(images_float, chance, sided)
        scale = 255.0 * torch.tensor(self.std)
        shift = 255.0 * torch.tensor(self.mean)
        return images_float.sub_(shift[:, None, None]).div_(scale[:, None, None]), numpy.arange(len(rows))

    def _move(self, images: Tensor, chance: Tensor, sided: Tensor) -> Tensor:
        """Random square crop and mirror as one resampling: an affine map of each picture."""
        side = (self.crop + (1 - self.crop) * chance[:, 0]).sqrt()
        mirror = torch.where((chance[:, 3] < self.flip) & ~sided, -1.0, 1.0)
        matrix = torch.zeros(len(images), 2, 3)
        matrix[:, 0, 0], matrix[:, 1, 1] = side * mirror, side
        matrix[:, :, 2] = (1 - side)[:, None] * (2 * chance[:, 1:3] - 1)
        grid = affine_grid(matrix, list(images.shape), align_corners=False)
        return grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


@dataclass(frozen=True)
class Drawn:
    """What a step drew. rows, texts [G]: the examples of all processes, and the text drawn for each; width: tokens of the
    longest of these; chance [G n] in [0, 1); step: (seed, epoch, number of the step), for whatever else a column draws.
    span: which of the G rows this part has; place [B]: the row of the part that each one takes, its own or another's."""

    rows: Rows
    texts: Rows
    width: int
    chance: Tensor
    step: tuple[int, int, int]
    span: slice
    place: Rows

    def here(self, whole: Any) -> Any:
        """The part's own rows of what is drawn for all [G] -> [B]."""
        return whole[self.span][self.place]


@runtime_checkable
class Column(Protocol):
    """A piece of every batch. read: fields of a Batch for the part's rows; and the place [B] of the row that each shows
    where some cannot be read (all columns then take that row), or None. chances: random numbers a row that it may use."""

    @property
    def chances(self) -> int: ...

    def read(self, drawn: Drawn) -> tuple[Mapping[str, Any], Rows | None]: ...

    def identity(self) -> str: ...


@runtime_checkable
class ReadsPictures(Protocol):
    """A column of pictures, some of which may turn out to be broken."""

    def unreadable(self) -> Mapping[str, str]:
        """Pictures that could not be read so far, and why."""
        ...


@dataclass(frozen=True)
class PixelColumn:
    """`images` [B N 3 H W] of the pictures `shows` [K N] of each text (a row's own picture without it).

    sided [K]: texts whose pictures are not mirrored. still: without augmentation. field, wrap: for pictures that were
    encoded beforehand, where they go in the batch, and as what.
    """

    pictures: Pictures
    sided: NDArray[numpy.bool_]
    shows: Rows | None = None
    still: bool = False
    field: str = "images"
    wrap: Callable[[Tensor], Any] | None = None

    @property
    def chances(self) -> int:
        return 4 * (1 if self.shows is None else self.shows.shape[1])

    def identity(self) -> str:
        return content_hash(
            self.pictures.identity().encode(), b"" if self.shows is None else self.shows.tobytes()
        )

    def unreadable(self) -> Mapping[str, str]:
        """Pictures that could not be read so far, and why."""
        return getattr(self.pictures, "bad", {})

    def read(self, drawn: Drawn) -> tuple[Mapping[str, Any], Rows | None]:
        rows, texts = drawn.here(drawn.rows), drawn.here(drawn.texts)
        shows = rows[:, None] if self.shows is None else self.shows[texts]
        each = shows.shape[1]
        sided = torch.from_numpy(self.sided[texts]).repeat_interleave(each) | self.still
        chance = drawn.chance[drawn.span][:, : self.chances].reshape(-1, 4)
        images, shown = self.pictures.look(
            shows.ravel(), torch.zeros_like(chance) if self.still else chance, sided
        )
        images, place = _whole(images.unflatten(0, (-1, each)), shown.reshape(-1, each))
        return {self.field: images if self.wrap is None else self.wrap(images)}, place


def _whole(images: Tensor, shown: Rows) -> tuple[Tensor, Rows]:
    """Rows [B N ...] with all of their pictures, and the place of the row that each shows: one with a picture that cannot be
    read shows another row, whole. Mistake where none is whole."""
    rows, each = shown.shape
    if each == 1:
        return images, shown[:, 0]
    whole = numpy.flatnonzero((shown == numpy.arange(shown.size).reshape(shown.shape)).all(1))
    if not len(whole):
        raise Mistake(
            "Not one example of a whole batch can be seen.", "Some of its pictures cannot be read.", ""
        )
    place = numpy.arange(rows)
    bad = numpy.setdiff1d(place, whole)
    place[bad] = whole[bad % len(whole)]
    return images[torch.from_numpy(place)], place


@dataclass(frozen=True)
class TextColumn:
    """`texts` [B T], T the longest that was drawn for any process."""

    table: TextTable
    chances: int = 0

    def identity(self) -> str:
        return self.table.identity()

    def read(self, drawn: Drawn) -> tuple[Mapping[str, Any], Rows | None]:
        return {"texts": Texts(*self.table.take(drawn.here(drawn.texts), drawn.width))}, None


@dataclass(frozen=True)
class NumberColumn:
    """One number a row, under the name of a field: `labels`, `image_ids`. numbers [M]; None: the row's own."""

    field: str
    numbers: Rows | None = None
    chances: int = 0

    def identity(self) -> str:
        return content_hash(self.field.encode(), b"" if self.numbers is None else self.numbers.tobytes())

    def read(self, drawn: Drawn) -> tuple[Mapping[str, Any], Rows | None]:
        rows = drawn.here(drawn.rows)
        return {self.field: torch.from_numpy(rows if self.numbers is None else self.numbers[rows])}, None


@dataclass(frozen=True)
class CodeColumn:
    """`codes` [B L] of M pictures, all of one length. ids [M L]."""

    ids: Rows
    chances: int = 0

    def identity(self) -> str:
        return content_hash(self.ids.tobytes())

    def read(self, drawn: Drawn) -> tuple[Mapping[str, Any], Rows | None]:
        ids = torch.from_numpy(self.ids[drawn.here(drawn.rows)])
        return {"codes": Codes(ids, torch.ones_like(ids, dtype=torch.bool))}, None


@dataclass
class Loader:
    """Batches for training, made of columns, the pictures first.

    texts: of M examples, one of which is drawn for each in every epoch (where examples have no texts: `TextTable.none(M)`).
    only: rows that take part (all that have a text). window: batches per length bucket (0: none). workers: threads that
    make batches ahead.
    """

    columns: Sequence[Column]
    texts: TextTable
    only: Rows | None = None
    window: int = 16
    workers: int = 0
    rows: Rows = field(init=False)

    def __post_init__(self) -> None:
        written = numpy.diff(self.texts.first) > 0
        chosen = numpy.arange(len(written)) if self.only is None else numpy.asarray(self.only, numpy.int64)
        self.rows = chosen[written[chosen]]

    @property
    def ids(self) -> Rows | None:
        """[M] equal numbers for rows of the same picture; None: every row has its own."""
        columns = [one for one in self.columns if isinstance(one, NumberColumn)]
        return next((one.numbers for one in columns if one.field == "image_ids"), None)

    def steps(self, plan: Plan) -> int:
        """Optimiser steps in an epoch. Raises Mistake where there is not one whole batch."""
        return plan.steps(len(self.rows))

    def identity(self) -> str:
        """Changes when the data does: a run that goes on must find the data it began with."""
        return content_hash(*(column.identity().encode() for column in self.columns), self.rows.tobytes())

    def unreadable(self) -> dict[str, str]:
        """Pictures that could not be read so far, and why."""
        columns = [column for column in self.columns if isinstance(column, ReadsPictures)]
        return {name: why for column in columns for name, why in column.unreadable().items()}

    def read(self, plan: Plan, epoch: int, step: int = 0) -> Iterator[list[Batch]]:
        """The batches of an epoch from `step` on: for every optimiser step this process's `parts` micro-batches."""
        rows, texts = epoch_order(plan, epoch, self.rows, self.texts.first, self.texts.lengths, self.window)

        def batches(at: int) -> list[Batch]:
            return self._batches(plan, rows[at], texts[at], (plan.seed, epoch, at))

        if not self.workers:
            yield from map(batches, range(step, len(rows)))
            return
        with ThreadPoolExecutor(self.workers, thread_name_prefix="pairloom-loader") as pool:
            waiting: deque[Future[list[Batch]]] = deque()
            try:
                for at in range(step, len(rows)):
                    waiting.append(pool.submit(batches, at))
                    if len(waiting) > 2 * self.workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _batches(self, plan: Plan, rows: Rows, texts: Rows, step: tuple[int, int, int]) -> list[Batch]:
        """One optimiser step. Chances are drawn for all G rows and T is the longest of them, so that a row is the
        same whichever process holds it."""
        generator = torch.Generator().manual_seed(seed_of("look", *step))
        most = max(4, *(column.chances for column in self.columns))
        chance = torch.rand(plan.batch, most, generator=generator)
        width = int(self.texts.lengths[texts].max())
        spans = plan.spans()
        whole = [Drawn(rows, texts, width, chance, step, one, numpy.arange(len(rows[one]))) for one in spans]
        return [self._batch(drawn) for drawn in whole]

    def _batch(self, drawn: Drawn) -> Batch:
        fields: dict[str, Any] = {}
        for column in self.columns:
            piece, place = column.read(drawn)
            if place is not None and (place != numpy.arange(len(place))).any():
                fields = {name: value[torch.from_numpy(place)] for name, value in fields.items()}
                drawn = replace(drawn, place=drawn.place[place])
            fields |= piece
        return Batch(**fields)


def pair_loader(
    pictures: Pictures,
    texts: TextTable,
    only: Rows | None = None,
    ids: Rows | None = None,
    window: int = 16,
    workers: int = 0,
    encoded: Callable[[Tensor], Any] | None = None,
) -> Loader:
    """The loader of pairs: a picture and one of its texts a row. ids [M]: equal numbers for the same picture; every row its
    own by default. encoded: makes the batch's `encoded` of rows [B 1 ...] that a network made of pictures beforehand
    (CachedImages). ValueError where there are texts for another number of pictures."""
    if len(texts.first) != len(pictures) + 1:
        raise ValueError(f"{len(pictures)} pictures, but texts for {len(texts.first) - 1}")
    into = "images" if encoded is None else "encoded"
    images = PixelColumn(pictures, texts.sided, field=into, wrap=encoded)
    return Loader((images, TextColumn(texts), NumberColumn("image_ids", ids)), texts, only, window, workers)
