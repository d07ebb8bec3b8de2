"""Gated cross-attention blocks, which stand between the layers of a model and begin as nothing.

Does not know: pictures, texts, what the context is of.

B rows, T positions, M contexts, S positions of a context, D width, C width of the context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pairloom.blocks.attention import KeyValue
from pairloom.blocks.cross import CrossAttention
from pairloom.blocks.feed import Activation, FeedForward

if TYPE_CHECKING:
    from pairloom.blocks.grouping import GroupedRows


class GatedMask(NamedTuple):
    """Which positions of a context each position sees, laid out once for all layers. mask [M 1 U S], of the readers' tables:
    True = may be seen, and everything where nothing may (attention over nothing is no number); visible [B T 1]:
    whether anything may be seen."""

    mask: Tensor
    visible: Tensor
    readers: GroupedRows | None

    @classmethod
    def of(cls, mask: Bool[Tensor, "B T S"], readers: GroupedRows | None = None) -> GatedMask:
        visible = mask.any(2, keepdim=True)
        if readers is not None:
            mask = readers.pad(mask.float()) > 0
        return cls((mask | ~mask.any(2, keepdim=True))[:, None], visible, readers)


class GatedCrossBlock(nn.Module):
    """Gated cross-attention and feed-forward part, each behind tanh of a learned scalar that begins at 0, so that a fresh one
    changes nothing (Alayrac et al., 2022, section 2.2 and figure 4). No biases."""

    def __init__(
        self, width: int, context: int, heads: int, inside: int, activation: Activation, eps: float
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=eps)
        self.attend = CrossAttention(width, heads, context, inside=inside, bias=False)
        self.norm_feed = nn.LayerNorm(width, eps=eps)
        self.feed = FeedForward(width, 4 * width, activation, bias=False)
        self.attend_gate = nn.Parameter(torch.zeros(1))
        self.feed_gate = nn.Parameter(torch.zeros(1))

    def forward(
        self, x: Float[Tensor, "B T D"], read: KeyValue | None, mask: GatedMask | None = None
    ) -> Float[Tensor, "B T D"]:
        """A position that may see nothing gets nothing from the attention, nor does any where there is nothing to read."""
        if read is not None and mask is not None:
            y = self.attend(self.norm(x), read, mask.mask, mask.readers)
            x = x + self.attend_gate.tanh() * y * mask.visible
        return x + self.feed_gate.tanh() * self.feed(self.norm_feed(x))
