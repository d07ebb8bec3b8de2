"""Relative position biases: floats that attention adds to its products, learned for each head and distance.

B rows, H heads, T query positions, S key positions, P patches of a picture.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class BucketedBias(nn.Module):
    """T5's relative position bias (Raffel et al., 2020, section 2.1): distances share a bucket, the wider the farther.

    buckets: of all distances; half of them for each direction where attention is not causal. farthest: the distance from
    which on all share the last bucket.
    """

    def __init__(self, heads: int, buckets: int = 32, farthest: int = 128, causal: bool = False) -> None:
        super().__init__()
        self.table = nn.Embedding(buckets, heads)
        self.buckets, self.farthest, self.causal = buckets, farthest, causal

    def forward(self, queries: int, keys: int) -> Float[Tensor, "1 H T S"]:
        """The queries are the last of the key positions where there are fewer (a cached writer)."""
        places = torch.arange(keys, device=self.table.weight.device)
        distance = places - places[keys - queries :, None]
        return self.table(self.bucket(distance)).permute(2, 0, 1)[None]

    def bucket(self, distance: Int[Tensor, "*N"]) -> Int[Tensor, "*N"]:
        """Of a key's position minus the query's."""
        buckets, first = self.buckets, torch.zeros_like(distance)
        if self.causal:
            distance = (-distance).clamp(min=0)
        else:
            buckets //= 2
            first = (distance > 0).long() * buckets
            distance = distance.abs()
        exact = buckets // 2
        share = (distance.float().clamp(min=1) / exact).log() / math.log(self.farthest / exact)
        wide = (exact + (share * (buckets - exact)).long()).clamp(max=buckets - 1)
        return first + torch.where(distance < exact, distance, wide)


class GridBias(nn.Module):
    """BEiT's relative position bias of a square grid (Bao et al., 2021, after Liu et al., 2021): one value for each offset in
    two dimensions, and three for the class row: to it, from it, and to itself."""

    places: Tensor

    def __init__(self, heads: int, side: int, class_row: bool = True) -> None:
        super().__init__()
        offsets = (2 * side - 1) ** 2
        self.table = nn.Parameter(torch.zeros(offsets + 3 * class_row, heads))
        row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        row, column = row.flatten(), column.flatten()
        down, right = row[:, None] - row + side - 1, column[:, None] - column + side - 1
        places = down * (2 * side - 1) + right
        if class_row:
            inner, places = places, places.new_empty(len(places) + 1, len(places) + 1)
            places[1:, 1:] = inner
            places[0, 1:], places[1:, 0], places[0, 0] = offsets, offsets + 1, offsets + 2
        self.register_buffer("places", places, persistent=False)

    def forward(self) -> Float[Tensor, "1 H P P"]:
        """Of every patch (and the class row, the first) to every other."""
        return self.table[self.places].permute(2, 0, 1)[None]


def biased(
    bias: Float[Tensor, "#B H #T S"], mask: Bool[Tensor, "#B 1 #T S"] | None
) -> Float[Tensor, "_ H _ S"]:
    """A relative position bias where a position may be seen, and minus infinity where it may not."""
    return bias if mask is None else bias.masked_fill(~mask, float("-inf"))
