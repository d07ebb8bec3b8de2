"""Attentional pooling: learned queries read however many rows a picture has.

B pictures, S rows of a picture, Q queries, D width of the queries, C width of the rows.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pairloom.blocks.attention import Attention


class Pooler(nn.Module):
    """One attention with learned queries over normed rows, and a norm ("attentional pooling", Lee et al., 2019)."""

    def __init__(self, queries: int, width: int, context: int, heads: int, eps: float) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(queries, width))
        self.norm_query = nn.LayerNorm(width, eps=eps)
        self.norm_rows = nn.LayerNorm(context, eps=eps)
        self.attend = Attention(width, heads, context)
        self.norm = nn.LayerNorm(width, eps=eps)

    def forward(self, rows: Float[Tensor, "B S C"]) -> Float[Tensor, "B Q D"]:
        queries = self.norm_query(self.queries).expand(len(rows), -1, -1)
        return self.norm(self.attend(queries, self.attend.project(self.norm_rows(rows))))
