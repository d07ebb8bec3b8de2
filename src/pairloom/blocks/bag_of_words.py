"""Bag of words: a text by its mean word embedding.

B texts, T tokens, V vocabulary, D width.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class BagOfWords(nn.Module):
    """The norm of a text's mean word embedding, whatever the order: learnt in tens of steps where a stack takes thousands.

    dropout: chance that a word of the text is left out in training.
    """

    def __init__(self, width: int, eps: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=eps)
        self.dropout = dropout

    def forward(
        self, words: Float[Tensor, "V D"], tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B D"]:
        """words: the table that the tokens point into. The first token ([CLS]) is left out."""
        weight = F.dropout(mask[:, 1:].to(words.dtype), self.dropout, self.training)
        total = (words[tokens[:, 1:]] * weight[..., None]).sum(1)
        return self.norm(total / mask[:, 1:].sum(1, keepdim=True).clamp(min=1))
