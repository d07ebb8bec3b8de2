"""Blocks without cross-attention, each followed by a block that reads a context.

Does not know: pictures, texts, what the context is of.

B rows, T positions, S positions of a context, D width, C width of the context.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Bool, Float
from torch import Tensor, nn

from pairloom.blocks.attention import KeyValue
from pairloom.blocks.cross import CrossAttention, CrossKeyValues
from pairloom.blocks.feed import FeedForward
from pairloom.blocks.masks import padding
from pairloom.blocks.transformer import Block, TransformerConfig


class CrossBlock(nn.Module):
    """Cross-attention to a normed context, then a feed-forward part: a pre-norm residual block of its own."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.norm_memory = nn.LayerNorm(config.context or config.width, eps=config.eps)
        self.norm = nn.LayerNorm(config.width, eps=config.eps)
        self.attend = CrossAttention(config.width, config.heads, config.context, config.dropout)
        self.norm_feed = nn.LayerNorm(config.width, eps=config.eps)
        self.feed = FeedForward(config.width, round(config.width * config.growth), config.activation)

    def forward(
        self, x: Float[Tensor, "B T D"], context: CrossKeyValues, index: int
    ) -> Float[Tensor, "B T D"]:
        """index: which layer of the context is this block's."""
        mask = None if context.mask is None else padding(context.mask)
        x = x + self.attend(self.norm(x), context.layers[index], mask, context.readers)
        return x + self.feed(self.norm_feed(x))


class AlternatingStack(nn.Module):
    """Blocks without cross-attention, each followed by a CrossBlock (open_clip's CoCa); used like a Stack."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.reads = nn.ModuleList(CrossBlock(config) for _ in range(config.depth))

    def forward(
        self, x: Float[Tensor, "B T D"], mask: Bool[Tensor, "#B 1 #T T"] | None, context: CrossKeyValues
    ) -> Float[Tensor, "B T D"]:
        for index, (layer, read) in enumerate(zip(self.layers, self.reads)):
            x = read(layer(x, mask), context, index)
        return x

    def project(self, context: Float[Tensor, "B S C"]) -> CrossKeyValues:
        """What the cross blocks read of a context: one projection each."""
        return CrossKeyValues([read.attend.project(read.norm_memory(context)) for read in self.reads])

    def step(
        self,
        x: Float[Tensor, "B 1 D"],
        past: Sequence[KeyValue] | None,
        context: CrossKeyValues,
        mode: int = 0,
        room: int | None = None,
    ) -> tuple[Float[Tensor, "B 1 D"], list[KeyValue]]:
        """One position more, causally: its output, and the past grown by it."""
        from pairloom.blocks.step import step_block

        grown = []
        for index, (layer, read) in enumerate(zip(self.layers, self.reads)):
            row = past[index] if past else None
            x, row = step_block(layer, x, row, None, index, mode, None, room)
            x = read(x, context, index)
            grown.append(row)
        return x, grown
