"""Conditional adversarial losses (Goodfellow et al., 2014; Reed et al., 2016): is this picture real, and of this text?

B pictures.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def critic_loss(
    real: Float[Tensor, " B"],
    drawn: Float[Tensor, " B"],
    mismatched: Float[Tensor, " B"] | None = None,
    weight: float = 0.5,
) -> Float[Tensor, ""]:
    """Binary cross-entropy of logits: real pictures with their texts 1, drawn ones 0.

    mismatched: real pictures with other texts count as 0 too (GAN-CLS, algorithm 1), with `weight`, and the drawn ones with
    1 - weight. Without them the drawn ones count whole.
    """
    loss = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
    fake = F.binary_cross_entropy_with_logits(drawn, torch.zeros_like(drawn))
    if mismatched is None:
        return loss + fake
    wrong = F.binary_cross_entropy_with_logits(mismatched, torch.zeros_like(mismatched))
    return loss + weight * wrong + (1 - weight) * fake


def painter_loss(drawn: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """The drawn pictures should count as real (the non-saturating loss)."""
    return F.binary_cross_entropy_with_logits(drawn, torch.ones_like(drawn))


def interpolated(texts: Float[Tensor, "B E"], share: float = 0.5) -> Float[Tensor, "B E"]:
    """Text embeddings between each text and its neighbour in the batch (GAN-INT, equation 5): there is no real picture of them,
    so they teach the painter alone."""
    return share * texts + (1 - share) * texts.roll(1, 0)
