"""Contrastive losses (InfoNCE): each row should be most similar to the column with the same picture.

B rows, K columns, E shared width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def same_picture(rows: Int[Tensor, " B"], columns: Int[Tensor, " K"]) -> Float[Tensor, "B K"]:
    """Targets of the contrast: uniform over the columns that have the row's picture. Every row must have such a column."""
    same = (rows[:, None] == columns).float()
    return same / same.sum(1, keepdim=True)


def contrast(
    rows: Float[Tensor, "B E"],
    columns: Float[Tensor, "K E"],
    temperature: Float[Tensor, ""],
    targets: Float[Tensor, "B K"],
    teacher: Float[Tensor, "B E"] | None = None,
    alpha: float = 0.0,
) -> Float[Tensor, ""]:
    """Cross-entropy of softmax(rows . columns / temperature) with targets, mean over rows (InfoNCE where one-hot).

    With alpha the targets are (1 - alpha) targets + alpha softmax(teacher . columns / temperature), the soft targets of a
    momentum teacher (Li et al., 2021, ALBEF, eq. 6).
    """
    columns = columns.float()
    if alpha and teacher is not None:
        with torch.no_grad():
            soft_targets = (teacher.float() @ columns.T / temperature).softmax(1)
            targets = (1 - alpha) * targets + alpha * soft_targets
    return -(targets * (rows.float() @ columns.T / temperature).log_softmax(1)).sum(1).mean()


def symmetric_contrast(
    images: Float[Tensor, "B E"],
    texts: Float[Tensor, "B E"],
    ids: Int[Tensor, " B"],
    candidates: tuple[Float[Tensor, "K E"], Float[Tensor, "K E"], Int[Tensor, " K"]],
    temperature: Float[Tensor, ""],
    teacher: tuple[Float[Tensor, "B E"], Float[Tensor, "B E"]] | None = None,
    alpha: float = 0.0,
) -> Float[Tensor, ""]:
    """Symmetric contrastive loss (Radford et al., 2021, figure 3): the mean of image-to-text and text-to-image contrast of the
    pairs of this process with the candidates.

    candidates: images, texts and ids of the pairs of all processes, and of a queue where there is one. ids: pairs with equal
    ids have the same picture. teacher, alpha: the teacher's images and texts, and the weight of its soft targets.
    """
    targets = same_picture(ids, candidates[2])
    slow_images, slow_texts = teacher or (None, None)
    to_text = contrast(images, candidates[1], temperature, targets, slow_images, alpha)
    to_image = contrast(texts, candidates[0], temperature, targets, slow_texts, alpha)
    return (to_text + to_image) / 2
