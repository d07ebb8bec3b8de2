"""Word-region alignment by optimal transport (Chen et al., 2020, UNITER, section 3.2).

B pairs, T words, R regions, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def ipot(
    cost: Float[Tensor, "B T R"],
    words: Bool[Tensor, "B T"],
    regions: Bool[Tensor, "B R"],
    beta: float = 0.5,
    steps: int = 50,
) -> Float[Tensor, "B T R"]:
    """IPOT, the inexact proximal point method of optimal transport (Xie et al., 2018), with one inner iteration: the
    transport plan between uniform marginals.

    words, regions: True = real; the plan is 0 elsewhere. beta: the proximal step. No gradient goes through the plan.
    """
    with torch.no_grad():
        real = (words[:, :, None] & regions[:, None]).float()
        kernel = torch.exp(-cost.float() / beta) * real
        count_words, count_regions = (mask.sum(1).clamp(min=1).float()[:, None] for mask in (words, regions))
        scale_words = words.float() / count_words
        plan = real
        for _ in range(
            steps
        ):  # regions first, as the authors do: 50 steps leave the other order's marginals visible
            weighted = kernel * plan
            scale_regions = regions / (count_regions * (scale_words[:, None] @ weighted)[:, 0]).clamp(
                min=1e-30
            )
            scale_words = words / (count_words * (weighted @ scale_regions[..., None])[..., 0]).clamp(
                min=1e-30
            )
            plan = scale_words[..., None] * weighted * scale_regions[:, None]
    return plan


def transport_distance(
    words: Float[Tensor, "B T D"],
    regions: Float[Tensor, "B R D"],
    words_mask: Bool[Tensor, "B T"],
    regions_mask: Bool[Tensor, "B R"],
) -> Float[Tensor, " B"]:
    """Optimal transport distance of words and regions, in fp32; the cost of moving a word onto a region is 1 - cosine."""
    cost = 1 - F.normalize(words.float(), dim=-1) @ F.normalize(regions.float(), dim=-1).transpose(1, 2)
    return (ipot(cost.detach(), words_mask, regions_mask) * cost).sum((1, 2))
