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
    """Discriminator loss: binary cross-entropy of logits, with the target 1 for real pictures with their texts and 0 for
    drawn pictures.

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
    """Non-saturating generator loss: binary cross-entropy of the drawn pictures' logits with the target 1."""
    return F.binary_cross_entropy_with_logits(drawn, torch.ones_like(drawn))


def interpolated(texts: Float[Tensor, "B E"], share: float = 0.5) -> Float[Tensor, "B E"]:
    """Manifold interpolation (GAN-INT, equation 5): embeddings between each text and its neighbour in the batch. No real
    picture belongs to them, so that only the painter learns from them."""
    return share * texts + (1 - share) * texts.roll(1, 0)
