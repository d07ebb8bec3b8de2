"""Reason: is a statement about these pictures true? Asks for match. And what a set of such verdicts is worth.

B statements, N pictures of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pairloom.data.batch import Batch, Texts
from pairloom.data.lessons.statements import plain
from pairloom.data.tokens import Tokens
from pairloom.metrics.answers import consistency


@torch.no_grad()
def reason(
    system: Any,
    tokens: Tokens,
    images: Tensor,
    statements: Sequence[str],
    image_of: Sequence[int] | None = None,
) -> Tensor:
    """Probability [B] that each statement is true of its pictures, `images` [I N 3 H W]: one for each, or as image_of says."""
    texts = Texts(*tokens.encode([plain(text) for text in statements], system.config.length))
    owner = None if image_of is None else torch.tensor(list(image_of))
    batch = Batch(images=images, texts=texts, image_of=owner).to(images.device)
    found: Tensor = system.match(batch)
    return found.float().sigmoid()


def verdicts(chances: Sequence[float], true: Sequence[bool], group: Sequence[str]) -> dict[str, float]:
    """Accuracy, and consistency over groups (statements of one sentence)."""
    right = (np.asarray(chances) > 0.5) == np.asarray(true, dtype=bool)
    return {"accuracy": float(right.mean()), "consistency": consistency(right, group)}
