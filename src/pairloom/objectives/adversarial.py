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


def painter_loss(drawn: Float[Tensor, " B"], weights: Float[Tensor, " B"] | None = None) -> Float[Tensor, ""]:
    """Non-saturating generator loss: mean binary cross-entropy of the drawn pictures' logits with the target 1. weights: of the
    rows, whose sum does not change what the sum is divided by."""
    return F.binary_cross_entropy_with_logits(drawn, torch.ones_like(drawn), weights)


def interpolated(
    texts: Float[Tensor, "B E"], generator: torch.Generator | None = None
) -> Float[Tensor, "M E"]:
    """Manifold interpolation (GAN-INT, equation 5): embeddings in the middle between each text of the first half of a batch and one of
    the second half. No real picture belongs to them, so that only the painter learns from them.

    generator: moves each of them along the line through both texts by a random share, from -1 to 1, of their difference.
    """
    half = len(texts) // 2
    share = texts.new_full((half, 1), 0.5)
    if generator is not None:
        share += (2 * torch.rand(half, 1, generator=generator) - 1).to(share.device)
    return torch.lerp(texts[:half], texts[half : 2 * half], share)
