"""Masked language modelling with a fixed number of hidden tokens a text, as VLP and VinVL do it.

B texts, T tokens.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from pairloom.objectives.masked import MaskedTokens, replaced_tokens


def mask_some(
    ids: Int[Tensor, "B T"],
    candidates: Bool[Tensor, "B T"],
    mask_id: int,
    words: tuple[int, int],
    generator: torch.Generator,
    chance: float = 0.15,
    most: int = 3,
) -> MaskedTokens:
    """As `mask_tokens`, but of a fixed number: min(most, max(1, round(chance * candidates))) tokens of each text are hidden, as VLP
    and VinVL do."""
    draws = torch.rand(2, *ids.shape, generator=generator).to(ids.device)
    rank = draws[0].masked_fill(~candidates, 2.0).argsort(1).argsort(1)
    count = (chance * candidates.sum(1)).round().long().clamp(1, most)
    return replaced_tokens(ids, candidates & (rank < count[:, None]), draws[1], mask_id, words, generator)
