"""Match: do these two belong together? And which wrong partner is worth asking about.

B rows, K candidates, E shared width. With one positive and two negatives each, a judge that knows only the prior pays CHANCE.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

CHANCE = -(
    math.log(1 / 3) / 3 + 2 * math.log(2 / 3) / 3
)  # 0.6365: "stuck" at this value means nothing is learned


@torch.no_grad()
def hard_negatives(
    similarity: Float[Tensor, "B K"], allowed: Bool[Tensor, "B K"], generator: torch.Generator | None = None
) -> tuple[Int[Tensor, " B"], Bool[Tensor, " B"]]:
    """One wrong partner per row, drawn by softmax(similarity) + 1e-4 among the allowed (Li et al., 2021, ALBEF).

    Also whether the row has any: where it has none, its index means nothing and its loss must not count.
    """
    chances = (similarity.float().softmax(1).nan_to_num() + 1e-4) * allowed
    available = allowed.any(1)
    chances = torch.where(available[:, None], chances, torch.ones_like(chances))
    return torch.multinomial(chances, 1, generator=generator)[:, 0], available


def hard_pairs(
    images: Float[Tensor, "B E"],
    texts: Float[Tensor, "B E"],
    ids: Int[Tensor, " B"],
    temperature: Float[Tensor, ""],
    seed: int,
) -> tuple[Int[Tensor, " B"], Int[Tensor, " B"], Bool[Tensor, " B"]]:
    """A wrong text for each image, a wrong image for each text, and whether there was one: rows with equal ids show
    the same picture and are never wrong for each other."""
    generator = torch.Generator(images.device).manual_seed(seed)
    similarity = images.float() @ texts.float().T / temperature
    allowed = ids[:, None] != ids
    wrong_text, available = hard_negatives(similarity, allowed, generator)
    return wrong_text, hard_negatives(similarity.T, allowed, generator)[0], available


def match_loss(
    logits: Float[Tensor, "B 2"], together: Int[Tensor, " B"], counts: Bool[Tensor, " B"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Cross-entropy (class 1 = they belong together), summed over the rows that count, and how many count."""
    weight = counts.float()
    return (F.cross_entropy(logits.float(), together, reduction="none") * weight).sum(), weight.sum()
