"""Masked language modelling (Devlin et al., 2019): which tokens are hidden, and the cross-entropy of guessing them.

B texts, T tokens, M hidden tokens, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


class MaskedTokens(NamedTuple):
    """ids [B T]: what the model reads. hidden [B T]: True where the original token is to be predicted."""

    ids: Tensor
    hidden: Tensor


def masking_generator(training: bool) -> torch.Generator:
    """The random numbers of a masking sampler. In training they follow torch's default generator, which the loop seeds by
    step and process; in evaluation they are the same at every call."""
    seed = int(torch.randint(2**31, ())) if training else 0
    return torch.Generator().manual_seed(seed)


def mask_tokens(
    ids: Int[Tensor, "B T"],
    candidates: Bool[Tensor, "B T"],
    mask_id: int,
    words: tuple[int, int],
    generator: torch.Generator,
    chance: float = 0.15,
) -> MaskedTokens:
    """BERT's rule: of the candidates `chance` are hidden; 80 % of those become [MASK], 10 % a random word, 10 % stay.

    candidates: real tokens that are not special. words: first and last + 1 of the ids that a random word is drawn from.
    A text of which none was drawn hides its first candidate, so that every text teaches.
    """
    draws = torch.rand(2, *ids.shape, generator=generator).to(ids.device)
    hidden = candidates & (draws[0] < chance)
    first = candidates & (candidates.cumsum(1) == 1)
    hidden = hidden | (first & ~hidden.any(1, keepdim=True))
    random = torch.randint(*words, ids.shape, generator=generator).to(ids.device)
    replaced = torch.where(
        draws[1] < 0.8, torch.full_like(ids, mask_id), torch.where(draws[1] < 0.9, random, ids)
    )
    return MaskedTokens(torch.where(hidden, replaced, ids), hidden)


def masked_loss(logits: Float[Tensor, "M V"], targets: Int[Tensor, " M"]) -> Float[Tensor, ""]:
    """Mean cross-entropy over the hidden tokens; 0, with a gradient of 0, where there are none."""
    if not len(targets):
        return logits.sum() * 0
    return F.cross_entropy(logits.float(), targets)
