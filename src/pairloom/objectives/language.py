"""Language modelling: cross-entropy of the next token.

M predictions, V vocabulary, B texts, T tokens.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def caption_loss(
    logits: Float[Tensor, "M V"], targets: Int[Tensor, " M"], smoothing: float = 0.0
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Cross-entropy with label smoothing, summed, and the number of predictions. The target is (1 - smoothing) one-hot +
    smoothing uniform."""
    total = F.cross_entropy(logits.float(), targets, reduction="sum", label_smoothing=smoothing)
    return total, total.new_tensor(float(targets.numel()))


def caption_cost(
    logits: Float[Tensor, "B T V"], tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, " B"]:
    """Negative log-likelihood of each text: - sum_t log p(token t + 1 | tokens up to t), its end token included (Vinyals et
    al., 2015, eq. 13)."""
    token_losses = F.cross_entropy(logits[:, :-1].float().transpose(1, 2), tokens[:, 1:], reduction="none")
    return (token_losses * mask[:, 1:]).sum(1)
