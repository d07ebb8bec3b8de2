"""Answers of a list: the binary cross-entropy of visual question answering, and what counts as the right answer.

B texts, A answers of a list.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def answers_of(labels: Tensor) -> Int[Tensor, " B"]:
    """The best answer of each text, below 0 where it has none. labels: these numbers [B], or the scores of a list's answers [B A]."""
    if labels.ndim == 1:
        return labels
    best = labels.max(1)
    return torch.where(best.values > 0, best.indices, -1)


def answer_loss(logits: Float[Tensor, "B A"], labels: Tensor) -> Float[Tensor, ""]:
    """Binary cross-entropy of a list of answers, summed over the list, mean over the texts that have one. labels: the answer of each
    text [B], below 0 where it is no question; or the score of each answer [B A]."""
    if labels.ndim == 2:
        right, known = labels.to(logits.dtype), torch.ones_like(labels[:, 0])
    else:
        right, known = F.one_hot(labels.clamp(min=0), logits.shape[1]).to(logits.dtype), labels >= 0
    each = F.binary_cross_entropy_with_logits(logits, right, reduction="none").sum(1)
    return (each * known).sum() / known.sum().clamp(min=1)
