"""Sigmoid loss (Zhai et al., 2023, "Sigmoid Loss for Language Image Pre-Training", arXiv 2303.15343): every picture and text of
a batch is a binary decision of its own.

B pictures of this process, K texts of all processes, E shared width.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def sigmoid_contrast(
    images: Float[Tensor, "B E"],
    texts: Float[Tensor, "K E"],
    rows: Int[Tensor, " B"],
    columns: Int[Tensor, " K"],
    temperature: Float[Tensor, ""],
    bias: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Minus the log likelihood of all decisions, summed over the texts and averaged over the pictures (equation 1).

    rows, columns: ids of the pictures, and of the picture of each text; a text is right for every picture with its id. The
    mean over the processes is the loss of one process with the whole batch.
    """
    logits = images.float() @ texts.float().T / temperature + bias
    same = rows[:, None] == columns
    return F.binary_cross_entropy_with_logits(logits, same.float(), reduction="sum") / len(images)
