"""Language: predict the next token.

M predictions, V vocabulary.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def caption_loss(
    logits: Float[Tensor, "M V"], targets: Int[Tensor, " M"], smoothing: float = 0.0
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Cross-entropy against (1 - smoothing) one-hot + smoothing uniform, summed, and the number of predictions."""
    total = F.cross_entropy(logits.float(), targets, reduction="sum", label_smoothing=smoothing)
    return total, total.new_tensor(float(targets.numel()))
