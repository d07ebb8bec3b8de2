"""LanguageHead: from rows to scores over the vocabulary, with the word table as its last matrix.

M rows, D width, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class LanguageHead(nn.Module):
    """Linear, GELU, norm, then the (handed in) word table with an own bias: BERT's."""

    def __init__(self, width: int, vocabulary: int, eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.table = F.linear  # what scores the words; an engine puts a packed one here

    def forward(self, x: Float[Tensor, "*M D"], words: Float[Tensor, "V D"]) -> Float[Tensor, "*M V"]:
        return self.table(self.norm(F.gelu(self.dense(x))), words, self.bias)
