"""Image-text matching with random negatives, as fusion encoders learn it (ViLBERT, UNITER, Pixel-BERT): a text with its own
picture, and with the picture of another row.

B rows.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def random_negatives(
    ids: Int[Tensor, " B"], generator: torch.Generator
) -> tuple[Int[Tensor, " B"], Bool[Tensor, " B"]]:
    """Random negatives: for each row another row of the batch, drawn uniformly among those with another picture, and whether
    there is one (`hard_negatives` with equal similarities). ids: which picture each row has."""
    from pairloom.objectives.match import hard_negatives

    allowed = (ids[:, None] != ids).cpu()
    other, available = hard_negatives(torch.zeros(allowed.shape), allowed, generator)
    return other.to(ids.device), available.to(ids.device)


def mismatched_half(
    ids: Int[Tensor, " B"], generator: torch.Generator
) -> tuple[Int[Tensor, " B"], Bool[Tensor, " B"]]:
    """A partner for each row: itself, or, with probability one half, a random other row (`random_negatives`), and whether it is
    another. ids: which picture each row has."""
    other, available = random_negatives(ids, generator)
    wrong = available & (torch.rand(len(ids), generator=generator) < 0.5).to(ids.device)
    return torch.where(wrong, other, torch.arange(len(ids), device=ids.device)), wrong


def paired_match_loss(
    matched: Float[Tensor, "B 2"], mismatched: Float[Tensor, "B 2"], available: Bool[Tensor, " B"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """`match_loss` of each text once with its own picture and once with a wrong one, where one is available."""
    from pairloom.objectives.match import match_loss

    logits = torch.cat([matched, mismatched])
    together = torch.arange(len(logits), device=logits.device) < len(matched)
    return match_loss(logits, together.long(), torch.cat([torch.ones_like(available), available]))
