"""Masked language modelling with soft targets.

M hidden tokens, V vocabulary.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from pairloom.objectives.masked import masked_loss


def distilled_loss(
    logits: Float[Tensor, "M V"], targets: Int[Tensor, " M"], teacher: Float[Tensor, "M V"], alpha: float
) -> Float[Tensor, ""]:
    """`masked_loss` with soft targets of a momentum teacher (Li et al., 2021, ALBEF, eq. 7): (1 - alpha) times the cross-entropy with
    the hidden tokens, and alpha times that with softmax(teacher)."""
    if not alpha or not len(targets):
        return masked_loss(logits, targets)
    soft = teacher.float().softmax(1)
    return (1 - alpha) * masked_loss(logits, targets) + alpha * F.cross_entropy(logits.float(), soft)
