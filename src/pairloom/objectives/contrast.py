"""Contrast: each row should point to its own kind among all columns.

B rows, K columns, E shared width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def same_picture(rows: Int[Tensor, " B"], columns: Int[Tensor, " K"]) -> Float[Tensor, "B K"]:
    """Targets: uniform over the columns that show the row's picture. Every row must have one."""
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

    With alpha the targets are (1 - alpha) targets + alpha * what the teacher's rows say (Li et al., 2021, ALBEF, eq. 6).
    """
    columns = columns.float()
    if alpha and teacher is not None:
        with torch.no_grad():
            soft_targets = (teacher.float() @ columns.T / temperature).softmax(1)
            targets = (1 - alpha) * targets + alpha * soft_targets
    return -(targets * (rows.float() @ columns.T / temperature).log_softmax(1)).sum(1).mean()
