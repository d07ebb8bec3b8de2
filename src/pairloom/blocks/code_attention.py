"""Attention over a text and a grid of image codes behind it, dense or sparse (Ramesh et al., 2021, appendix B.1), as a mask over
whole rows and one code at a time from a cache.

Every code sees the whole text, and itself and, of the codes before it: those back to the one above it ("row"), those above it
("column"), those in a window of rows and columns around it, which wraps at the edges ("convolution"), or all of them ("dense").
Does not know: vocabularies, embeddings, how a code is drawn.

B texts, R rows (candidates, those of a text next to each other), L slots of a text, N codes of a picture, H heads, S codes that are
kept, d width of a head, D width.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pairloom.blocks.attention import Attention, KeyValue
from pairloom.blocks.transformer import Block, Residual

Pattern = Literal["row", "column", "convolution", "dense"]


@dataclass(frozen=True)
class AttentionWindow:
    """Which codes one code sees. side: of the grid of codes; kernel: rows and columns of the convolution (odd)."""

    pattern: Pattern
    side: int
    kernel: int = 11

    @property
    def cells(self) -> int:
        return self.side**2

    @cached_property
    def reach(self) -> list[int]:
        """How far back the codes lie that the last code of a grid sees, were the grid to go on; 0 is itself. The nearest first."""
        if self.pattern == "row":
            return list(range(self.side + 1))
        if self.pattern == "column":
            return list(range(0, self.cells, self.side))
        if self.pattern == "dense":
            return list(range(self.cells))
        half = self.kernel // 2
        near = {down * self.side + along for down in range(half + 1) for along in range(-half, half + 1)}
        return sorted(step for step in near if step >= 0)

    def behind(self, position: int) -> list[int]:
        """How far back the codes lie that this position sees."""
        return self.reach[: bisect_right(self.reach, position)]

    def mask(self, device: torch.device | None = None) -> Bool[Tensor, "N N"]:
        """Row i: the codes that code i sees."""
        seen = torch.zeros(self.cells, self.cells, dtype=torch.bool, device=device)
        for position in range(self.cells):
            seen[position, [position - step for step in self.behind(position)]] = True
        return seen

    @cached_property
    def room(self) -> int:
        """How many codes must be kept: a ring where only near ones are seen."""
        if self.pattern in ("row", "convolution"):
            return min(self.cells, self.reach[-1] + 1)
        return self.cells

    def slot(self, position: int) -> int:
        """Where a code is kept. Columns are kept one after the other, so that what a code sees lies together."""
        if self.pattern == "column":
            return position % self.side * self.side + position // self.side
        return position % self.room

    def slots(self, position: int) -> slice | list[int]:
        """Where the codes are kept that a position sees; attention does not care about their order."""
        if self.pattern == "column":
            return slice(position % self.side * self.side, self.slot(position) + 1)
        if self.pattern == "convolution":
            return [(position - step) % self.room for step in self.behind(position)]
        return slice(0, min(position + 1, self.room))


@cache
def sequence_mask(window: AttentionWindow, text: int) -> Bool[Tensor, "T T"]:
    """Mask of a text's slots, each of which sees those up to itself, and the codes after them. T = text + codes."""
    seen = torch.ones(text + window.cells, text + window.cells, dtype=torch.bool).tril()
    seen[text:, text:] = window.mask()
    return seen


@dataclass
class CodePast:
    """Keys and values of one layer: those of the texts [B H L d], which all candidates of a text read, and those of the codes that
    are kept [R H S d]. joined: both in one storage [B H L+S d], where every text has one candidate."""

    window: AttentionWindow
    text: KeyValue
    codes: KeyValue | None = None
    joined: KeyValue | None = None

    def expand(self, times: int) -> CodePast:
        """Every row `times` over, neighbours together; before the first code."""
        assert self.codes is None
        rows, heads, length, width = self.text.keys.shape
        if times > 1:
            size = rows * times, heads, self.window.room, width
            return CodePast(
                self.window, self.text, KeyValue(*(self.text.keys.new_empty(size) for _ in range(2)))
            )
        parts = [
            part.new_empty(rows, heads, length + self.window.room, width) for part in vars(self.text).values()
        ]
        for part, own in zip(parts, vars(self.text).values()):
            part[:, :, :length] = own
        text, codes = (
            KeyValue(*(part[:, :, at] for part in parts)) for at in (slice(length), slice(length, None))
        )
        return CodePast(self.window, text, codes, KeyValue(*parts))

    def write(self, new: KeyValue, position: int) -> None:
        """Keep the keys and values [R H 1 d] of a code, in place of one that no code sees any more."""
        assert self.codes is not None
        slot = self.window.slot(position)
        self.codes.keys[:, :, slot : slot + 1] = new.keys
        self.codes.values[:, :, slot : slot + 1] = new.values

    def attend(self, attention: Attention, query: Float[Tensor, "R 1 I"], position: int) -> Float[Tensor, "R 1 I"]:  # fmt: skip
        """One softmax over the text and the codes that are seen. The rows of one text read its keys together."""
        assert self.codes is not None
        slots, length = self.window.slots(position), self.text.keys.shape[2]
        if self.joined is not None and isinstance(slots, slice) and not slots.start:
            last = length + slots.stop
            return attention.dot_product(query, KeyValue(self.joined.keys[:, :, :last], self.joined.values[:, :, :last]))  # fmt: skip
        keys, values = self.codes.keys[:, :, slots], self.codes.values[:, :, slots]
        heads = attention.split(query) * (attention.scale or keys.shape[-1] ** -0.5)
        texts = len(self.text.keys)
        together = heads.unflatten(0, (texts, -1))[..., 0, :].transpose(1, 2)  # [B H candidates d]
        of_text = (together @ self.text.keys.mT).transpose(1, 2).flatten(0, 1)[:, :, None]
        shares = torch.cat([of_text, heads @ keys.mT], -1).softmax(-1)
        by_text = shares[..., :length].unflatten(0, (texts, -1))[..., 0, :].transpose(1, 2)
        read = (by_text @ self.text.values).transpose(1, 2).flatten(0, 1)[:, :, None]
        return (read + shares[..., length:] @ values).transpose(1, 2).flatten(2)


@dataclass
class CodeState:
    """What a writer of codes carries from code to code. position: how many codes were read. A step writes into it, so that an earlier
    state must not be used again."""

    layers: list[CodePast] = field(default_factory=list)
    position: int = 0

    def __len__(self) -> int:
        codes = self.layers[0].codes
        return len((codes or self.layers[0].text).keys)

    def expand(self, times: int) -> CodeState:
        """Every text's row `times` over, before the first code: candidates of a text, which read its keys together."""
        return CodeState([layer.expand(times) for layer in self.layers], self.position)


def step_block(block: Block, x: Float[Tensor, "R 1 D"], past: CodePast, position: int) -> Float[Tensor, "R 1 D"]:  # fmt: skip
    """One code more through a block, whose keys and values the past then holds."""

    def attend(residual: Residual, x: Tensor) -> Tensor:
        def attention(inner: Tensor) -> Tensor:
            past.write(residual.fn.project(inner), position)
            return residual.fn.out(past.attend(residual.fn, residual.fn.query(inner), position))

        return residual.around(x, attention)

    return block.run(x, attend)


def read_block(block: Block, x: Float[Tensor, "B L D"], window: AttentionWindow) -> tuple[Float[Tensor, "B L D"], CodePast]:  # fmt: skip
    """The whole text through a block, causally, and its keys and values."""
    kept: list[KeyValue] = []

    def attend(residual: Residual, x: Tensor) -> Tensor:
        def attention(inner: Tensor) -> Tensor:
            kept.append(residual.fn.project(inner))
            mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
            return residual.fn.out(residual.fn.dot_product(residual.fn.query(inner), kept[0], mask))

        return residual.around(x, attention)

    x = block.run(x, attend)
    return x, CodePast(window, kept[0])
