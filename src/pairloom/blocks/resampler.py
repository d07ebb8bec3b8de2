"""Perceiver resampler: however many rows a picture or a film has, a few learned queries read them into as many rows.

Does not know: pixels, texts, what is made of the rows.

B pictures (or films), F frames, S rows of a picture, Q queries, D width of the queries.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pairloom.blocks.attention import Attention
from pairloom.blocks.feed import Activation, FeedForward


class Resampling(NamedTuple):
    """The numbers of a Resampler. inside: width of all heads together; frames: learned temporal embeddings (0: none)."""

    width: int
    depth: int
    heads: int
    inside: int
    queries: int
    frames: int
    activation: Activation = "squared_relu"
    growth: float = 4
    eps: float = 1e-5


class Resample(nn.Module):
    """A layer of the resampler: the queries read the rows and themselves, then think; residuals round both, no biases."""

    def __init__(self, c: Resampling) -> None:
        super().__init__()
        self.norm_rows = nn.LayerNorm(c.width, eps=c.eps)
        self.norm = nn.LayerNorm(c.width, eps=c.eps)
        self.attend = Attention(c.width, c.heads, inside=c.inside, bias=False)
        self.norm_feed = nn.LayerNorm(c.width, eps=c.eps)
        self.feed = FeedForward(c.width, round(c.width * c.growth), c.activation, bias=False)

    def forward(self, x: Float[Tensor, "B Q D"], rows: Float[Tensor, "B S D"]) -> Float[Tensor, "B Q D"]:
        queries = self.norm(x)
        x = x + self.attend(queries, self.attend.project(torch.cat([self.norm_rows(rows), queries], 1)))
        return x + self.feed(self.norm_feed(x))


class Resampler(nn.Module):
    """Perceiver resampler (Jaegle et al., 2021; Alayrac et al., 2022, section 2.1 and figure 5): learned queries whose keys
    and values are the rows and the queries themselves. A frame's rows all get its temporal embedding; where a film has
    another number of frames than was learned, the embeddings are interpolated; rows have no other position."""

    def __init__(self, c: Resampling) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(c.queries, c.width))
        self.times = nn.Parameter(torch.randn(c.frames, c.width)) if c.frames else None
        self.layers = nn.ModuleList(Resample(c) for _ in range(c.depth))
        self.norm = nn.LayerNorm(c.width, eps=c.eps)

    def forward(self, rows: Float[Tensor, "B F S D"]) -> Float[Tensor, "B Q D"]:
        """Raises ValueError for several frames where no temporal embeddings were learned."""
        frames = rows.shape[1]
        if self.times is not None:
            rows = rows + self._times(frames)[:, None].to(rows.dtype)
        elif frames > 1:
            raise ValueError(f"{frames} frames, but this resampler knows no time")
        rows, x = rows.flatten(1, 2), self.queries.expand(len(rows), -1, -1)
        for layer in self.layers:
            x = layer(x, rows)
        return self.norm(x)

    def _times(self, frames: int) -> Tensor:
        """Embeddings [F D]: the learned ones, the first where there is one frame, else interpolated linearly."""
        times = self.times
        assert times is not None
        if frames in (1, len(times)):
            return times[:frames]
        return F.interpolate(times.T[None], frames, mode="linear", align_corners=True)[0].T
