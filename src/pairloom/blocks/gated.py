"""Blocks that read a memory beside layers that do not: plain ones after each layer, and gated ones that begin as nothing.

Does not know: pictures, texts, what the memory is of.

B rows, T positions, S positions of a memory, D width, C width of the memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pairloom.blocks.attention import Attention, CrossKeyValues, KeyValue, PackedSequence
from pairloom.blocks.masks import padding
from pairloom.blocks.transformer import Activation, FeedForward, Layer, TransformerConfig


class Grounding(nn.Module):
    """Cross-attention to a normed memory, then a feed-forward part: a residual block of its own, pre-norm."""

    def __init__(self, shape: TransformerConfig) -> None:
        super().__init__()
        self.norm_memory = nn.LayerNorm(shape.context or shape.width, eps=shape.eps)
        self.norm = nn.LayerNorm(shape.width, eps=shape.eps)
        self.attend = Attention(shape.width, shape.heads, shape.context, shape.dropout)
        self.norm_feed = nn.LayerNorm(shape.width, eps=shape.eps)
        self.feed = FeedForward(shape.width, round(shape.width * shape.growth), shape.activation)

    def forward(
        self, x: Float[Tensor, "B T D"], memory: CrossKeyValues, index: int
    ) -> Float[Tensor, "B T D"]:
        """index: which layer of the memory is this block's."""
        keep = None if memory.keep is None else padding(memory.keep)
        x = x + self.attend(self.norm(x), memory.layers[index], keep, memory.packing)
        return x + self.feed(self.norm_feed(x))


class GroundedStack(nn.Module):
    """Layers without cross-attention, each followed by a Grounding; asked like a Stack."""

    def __init__(self, shape: TransformerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.depth))
        self.reads = nn.ModuleList(Grounding(shape) for _ in range(shape.depth))

    def forward(
        self, x: Float[Tensor, "B T D"], mask: Bool[Tensor, "#B 1 #T T"] | None, memory: CrossKeyValues
    ) -> Float[Tensor, "B T D"]:
        for index, (layer, read) in enumerate(zip(self.layers, self.reads)):
            x = read(layer(x, mask), memory, index)
        return x

    def remember(self, context: Float[Tensor, "B S C"]) -> CrossKeyValues:
        """The memory that the groundings read: one projection each."""
        return CrossKeyValues([read.attend.project(read.norm_memory(context)) for read in self.reads])

    def step(
        self, x: Float[Tensor, "B 1 D"], past: Sequence[KeyValue] | None, memory: CrossKeyValues
    ) -> tuple[Float[Tensor, "B 1 D"], list[KeyValue]]:
        """One position more, causally: its output, and the past grown by it."""
        grown = []
        for index, (layer, read) in enumerate(zip(self.layers, self.reads)):
            x, row = layer.step(x, past[index] if past else None, None, index, 0)
            x = read(x, memory, index)
            grown.append(row)
        return x, grown


class Sight(NamedTuple):
    """Who sees which positions of a memory, laid out once for all layers that ask. mask [M 1 U S] under the fold: True = may
    be seen, and everything where nothing may (attention over nothing is no number); sees [B T 1]: whether anything may."""

    mask: Tensor
    sees: Tensor
    packing: PackedSequence | None

    @classmethod
    def of(cls, mask: Bool[Tensor, "B T S"], packing: PackedSequence | None = None) -> Sight:
        sees = mask.any(2, keepdim=True)
        if packing is not None:
            mask = packing.into(mask.float()) > 0
        return cls((mask | ~mask.any(2, keepdim=True))[:, None], sees, packing)


class GatedReader(nn.Module):
    """Cross-attention and feed-forward part, each behind tanh of a learned scalar that begins at 0, so that a fresh one
    changes nothing (Alayrac et al., 2022, section 2.2 and figure 4). No biases."""

    def __init__(
        self, width: int, context: int, heads: int, inside: int, activation: Activation, eps: float
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=eps)
        self.attend = Attention(width, heads, context, inside=inside, bias=False)
        self.norm_feed = nn.LayerNorm(width, eps=eps)
        self.feed = FeedForward(width, 4 * width, activation, bias=False)
        self.attend_gate = nn.Parameter(torch.zeros(1))
        self.feed_gate = nn.Parameter(torch.zeros(1))

    def forward(
        self, x: Float[Tensor, "B T D"], read: KeyValue | None, sight: Sight | None = None
    ) -> Float[Tensor, "B T D"]:
        """A position that may see nothing gets nothing from the attention, nor does any where there is nothing to read."""
        if read is not None and sight is not None:
            seen = self.attend(self.norm(x), read, sight.mask, sight.packing)
            x = x + self.attend_gate.tanh() * seen * sight.sees
        return x + self.feed_gate.tanh() * self.feed(self.norm_feed(x))
