"""Twin: cross-attention to several pictures at once, each through projections of its own, merged to one row.

Does not know: layers, norms, how many rows a picture has beyond an equal share.

B rows, T positions, N pictures, S positions of one picture, D width, C width of the context.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pairloom.blocks.attention import Attention, KeyValue, PackedSequence


class MultiImageAttention(nn.Module):
    """One Attention for each picture; their outputs are averaged, or with `merge` laid side by side and mapped back to
    one width. Takes the place of an Attention: its context is the pictures' rows one after the other [B N*S C]."""

    def __init__(
        self, pictures: int, width: int, heads: int, context: int, dropout: float = 0.0, merge: bool = False
    ) -> None:
        super().__init__()
        self.each = nn.ModuleList(Attention(width, heads, context, dropout) for _ in range(pictures))
        self.merge = nn.Linear(pictures * width, width) if merge else None

    def project(self, context: Float[Tensor, "B S C"]) -> KeyValue:
        """Keys and values of all pictures, each picture's by its own projections, one after the other."""
        made = [one.project(rows) for one, rows in zip(self.each, context.chunk(len(self.each), 1))]
        return KeyValue(torch.cat([one.keys for one in made], 2), torch.cat([one.values for one in made], 2))

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        read: KeyValue,
        mask: Bool[Tensor, "#M 1 #T S"] | None = None,
        packing: PackedSequence | None = None,
    ) -> Float[Tensor, "B T D"]:
        """read: what `project` made."""
        pictures = len(self.each)
        keys, values = read.keys.chunk(pictures, 2), read.values.chunk(pictures, 2)
        masks = [None] * pictures if mask is None else mask.chunk(pictures, 3)
        made = [
            one(x, replace(read, keys=key, values=value), part, packing)
            for one, key, value, part in zip(self.each, keys, values, masks)
        ]
        return self.merge(torch.cat(made, -1)) if self.merge else torch.stack(made).mean(0)
