"""Image-text matching: cross-entropy of whether picture and text belong together, and the choice of the negatives.

B rows, K candidates, E shared width. With one positive and two negatives each, a model that knows only how often a pair is
a true one has the loss CHANCE.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

# 0.6365: a loss that stays at this value has learned nothing from the pairs
CHANCE = -(math.log(1 / 3) / 3 + 2 * math.log(2 / 3) / 3)


@torch.no_grad()
def hard_negatives(
    similarity: Float[Tensor, "B K"], allowed: Bool[Tensor, "B K"], generator: torch.Generator | None = None
) -> tuple[Int[Tensor, " B"], Bool[Tensor, " B"]]:
    """Hard negatives: for each row one wrong partner, drawn by softmax(similarity) + 1e-4 among the allowed ones (Li et al.,
    2021, ALBEF).

    Returns the partner's index, and whether the row has any partner: where it has none, the index is arbitrary and the row
    must not count in a loss.
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
    keys: tuple[Float[Tensor, "B E"], Float[Tensor, "B E"]] | None = None,
) -> tuple[Int[Tensor, " B"], Int[Tensor, " B"], Bool[Tensor, " B"]]:
    """Hard negatives both ways: a wrong text for each image, a wrong image for each text, and whether there is one. Rows with equal
    ids have the same picture and are never wrong for each other. keys: a teacher's rows, drawn in place of images and texts."""
    generator, allowed = torch.Generator(images.device).manual_seed(seed), ids[:, None] != ids
    image_keys, text_keys = keys or (images, texts)
    to_texts, to_images = images.float() @ text_keys.float().T, texts.float() @ image_keys.float().T
    wrong_text, available = hard_negatives(to_texts / temperature, allowed, generator)
    return wrong_text, hard_negatives(to_images / temperature, allowed, generator)[0], available


def match_loss(
    logits: Float[Tensor, "B 2"], together: Int[Tensor, " B"], counts: Bool[Tensor, " B"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Cross-entropy (class 1 = they belong together), summed over the rows that count, and how many rows count."""
    weight = counts.float()
    return (F.cross_entropy(logits.float(), together, reduction="none") * weight).sum(), weight.sum()
