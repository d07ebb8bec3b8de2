"""Norms behind attention and inside a gated feed-forward part (NormFormer, Shleifer et al., 2021, arXiv 2110.09456; GEGLU, Shazeer,
2020, arXiv 2002.05202).

Does not know: what the layers are of.

B rows, T positions, D width.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pairloom.blocks.transformer import Stack


class GatedFeedForward(nn.Module):
    """GEGLU with a norm of the hidden rows: down(norm(GELU(gate x) * up x)). No biases."""

    def __init__(self, width: int, hidden: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.gate, self.up = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.norm = nn.LayerNorm(hidden, eps=eps)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        return self.down(self.norm(F.gelu(self.gate(x)) * self.up(x)))


def to_normformer(stack: Stack, width: int, hidden: int) -> None:
    """Put a norm behind every attention of a new stack with norms in front, and a gated feed-forward part in place of the plain one."""
    for layer in stack.layers:
        for residual in (*layer.attend, *layer.cross):
            residual.fn.out = nn.Sequential(residual.fn.out, nn.LayerNorm(width, eps=1e-5))
        for residual in layer.feed:
            residual.fn = GatedFeedForward(width, hidden)
