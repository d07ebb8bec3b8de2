"""Cross-attention to several pictures at once, each through projections of its own, merged to one row.

Does not know: layers, norms, how many rows a picture has beyond an equal share.

B rows, T positions, M contexts, N pictures, S positions of all pictures, D width, C width of the context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pairloom.blocks.attention import KeyValue
from pairloom.blocks.cross import CrossAttention

if TYPE_CHECKING:
    from pairloom.blocks.grouping import GroupedRows


class MultiImageAttention(nn.Module):
    """One cross-attention for each picture; their outputs are averaged, or with `merge` laid side by side and mapped back to
    one width. Takes the place of a CrossAttention: its context is the pictures' rows one after the other [B N*S C]."""

    def __init__(
        self, pictures: int, width: int, heads: int, context: int, dropout: float = 0.0, merge: bool = False
    ) -> None:
        super().__init__()
        self.each = nn.ModuleList(CrossAttention(width, heads, context, dropout) for _ in range(pictures))
        self.merge = nn.Linear(pictures * width, width) if merge else None

    def project(self, context: Float[Tensor, "B S C"]) -> KeyValue:
        """Keys and values of all pictures, each picture's by its own projections, one after the other."""
        parts = [one.project(rows) for one, rows in zip(self.each, context.chunk(len(self.each), 1))]
        return KeyValue(
            torch.cat([part.keys for part in parts], 2), torch.cat([part.values for part in parts], 2)
        )

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        read: KeyValue,
        mask: Bool[Tensor, "#M 1 #T S"] | None = None,
        readers: GroupedRows | None = None,
    ) -> Float[Tensor, "B T D"]:
        """read: what `project` gave."""
        pictures = len(self.each)
        keys, values = read.keys.chunk(pictures, 2), read.values.chunk(pictures, 2)
        masks = [None] * pictures if mask is None else mask.chunk(pictures, 3)
        parts = [
            one(x, KeyValue(key, value), part, readers)
            for one, key, value, part in zip(self.each, keys, values, masks)
        ]
        return self.merge(torch.cat(parts, -1)) if self.merge else torch.stack(parts).mean(0)
