"""From token ids to rows of a transformer.

B rows, T tokens, D width.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn


class TextEmbed(nn.Module):
    """Word plus learned position, plus segment (token type) where there are several; norm (none where eps is None), dropout."""

    def __init__(
        self,
        vocabulary: int,
        positions: int,
        width: int,
        eps: float | None,
        dropout: float,
        segments: int = 0,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(positions, width)
        self.segments = nn.Embedding(segments, width) if segments else None
        self.norm = nn.Identity() if eps is None else nn.LayerNorm(width, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, tokens: Int[Tensor, "B T"], first: int = 0, segments: Int[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B T D"]:
        """first: the position of the first column. segments: of each token (None: the first of them). Raises ValueError past
        the last learned position."""
        last = first + tokens.shape[1]
        if last > self.positions.num_embeddings:
            raise ValueError(
                f"a text of {last} tokens is longer than the {self.positions.num_embeddings} positions"
            )
        x = self.words(tokens) + self.positions.weight[first:last]
        if self.segments is not None:
            x = x + (self.segments.weight[0] if segments is None else self.segments(segments))
        return self.dropout(self.norm(x))
