"""Packed sequences: a text transformer computes no rows of padding, and of its last block only the rows that are read.

It runs the blocks through their declared interface: `TextTransformer.packed`, `Block.run`, `Residual.inner` and `around`, and the pieces of
Attention (`query`, `split`, `dot_product`, `out`). The outputs equal those of the padded pass up to rounding, and so do the
gradients. In training a tower runs its padded pass unless packing is wanted there too.

B texts, T tokens of the longest, P real tokens of all texts, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pairloom.blocks.attention import Attention, KeyValue
from pairloom.blocks.cross import CrossKeyValues
from pairloom.blocks.grouping import GroupedRows
from pairloom.blocks.text import TextTransformer, visible
from pairloom.blocks.transformer import Residual, Stack


def pack_texts(network: nn.Module, training: bool = False) -> None:
    """Switch every text tower of a network to packed sequences in inference, and in training where that is wanted: on a
    processor, since a GPU waits for the number of real tokens in every step."""
    for part in network.modules():
        if isinstance(part, TextTransformer):
            part.packed, part.packs_training = run_packed, training


def run_packed(
    stack: Stack,
    x: Float[Tensor, "B T D"],
    mask: Bool[Tensor, "B T"],
    context: CrossKeyValues | None,
    mode: int,
    first: bool,
) -> Float[Tensor, "_ 1 D"]:
    """Run a stack over the P real tokens, as rows of one position. first: its last block computes the first row of each text
    alone."""
    text = mask.nonzero()[:, 0]
    texts, owner = GroupedRows(text, len(mask)), text
    if context is not None:
        owner = text if context.readers is None else context.readers.owner[text]
        context = context.read_by(owner)
    lengths = mask.sum(1)
    real = torch.arange(texts.most, device=mask.device) < lengths[:, None]
    attention = PackedAttention(texts, visible(real, mode))
    x, whole = x[mask][:, None], len(stack.layers) - first
    for index, block in enumerate(stack.layers[:whole]):
        x = block.run(x, attention.all, context, index, mode)
    if not first:
        return x
    starts = lengths.cumsum(0) - lengths
    if not len(stack.layers):
        return x[starts]
    last, block = PackedAttention(texts, attention.mask[:, :, :1], starts), stack.layers[-1]
    if context is not None and block.order.index("self") < block.order.index("cross"):
        context = context.read_by(owner[starts])
    return block.run(x, last.some, context, whole, mode)


@dataclass
class PackedAttention:
    """Self-attention of packed sequences: the projections run over the real tokens, the dot product over a padded table of
    texts.

    mask [B 1 U T]: of the table. rows: the tokens to compute, one for each text; None: all.
    """

    texts: GroupedRows
    mask: Tensor
    rows: Tensor | None = None

    def all(self, residual: Residual, x: Float[Tensor, "P 1 D"]) -> Float[Tensor, "P 1 D"]:
        return residual.around(x, lambda inner: self._attend(residual.fn, inner))

    def some(self, residual: Residual, x: Float[Tensor, "P 1 D"]) -> Float[Tensor, "B 1 D"]:
        """Attention of `rows` alone, over all tokens of their texts."""
        read = self._project(residual.fn, residual.inner(x))
        return residual(x[self.rows], read, self.mask)

    def _attend(self, attention: Any, x: Tensor) -> Tensor:
        x = x.to(getattr(attention.query, "dtype", x.dtype))  # an engine's: once for query, key and value
        query = self.texts.pad(attention.query(x))
        y = attention.dot_product(query, self._project(attention, x), self.mask)
        return attention.out(self.texts.unpad(y))

    def _project(self, attention: Attention, x: Tensor) -> KeyValue:
        keys, values = self.texts.pad(attention.key(x)), self.texts.pad(attention.value(x))
        return KeyValue(attention.split(keys), attention.split(values))
