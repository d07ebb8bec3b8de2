"""Masked region modelling: which regions are hidden. What is to be predicted of them: region_losses.py.

B pictures, R regions, F features.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def mask_regions(
    mask: Bool[Tensor, "B R"], generator: torch.Generator, chance: float = 0.15, always: bool = True
) -> Bool[Tensor, "B R"]:
    """Regions to hide: each real region with probability `chance`.

    mask: True = real. always: where the draw hides none, the first real one is hidden (UNITER). Of a picture with two regions that is
    half of what there is to see, so it does not suit a system that learns matching from the same pass.
    """
    hidden = mask & (torch.rand(mask.shape, generator=generator).to(mask.device) < chance)
    if not always:
        return hidden
    first = mask & (mask.cumsum(1) == 1)
    return hidden | (first & ~hidden.any(1, keepdim=True))


def hide_features(
    features: Float[Tensor, "B R F"],
    hidden: Bool[Tensor, "B R"],
    mask: Bool[Tensor, "B R"],
    generator: torch.Generator,
    zero: float = 0.9,
    other: float = 0.0,
) -> Float[Tensor, "B R F"]:
    """What a model reads of hidden regions: with probability `zero` nothing, with probability `other` the features of a random
    real region of the batch, else what they are (ViLBERT: .9 and 0; LXMERT's code: .8 and .1).

    mask: True = real.
    """
    draw = torch.rand(hidden.shape, generator=generator).to(hidden.device)
    read = features.masked_fill((hidden & (draw < zero))[..., None], 0.0)
    if not other:
        return read
    real = features.flatten(0, 1)[mask.flatten()]
    place = (torch.rand(hidden.shape, generator=generator).to(hidden.device) * len(real)).long()
    swapped = hidden & (draw >= zero) & (draw < zero + other)
    return torch.where(swapped[..., None], real[place.clamp(max=len(real) - 1)], read)


def overlapping(
    boxes: Float[Tensor, "B R 4"], hidden: Bool[Tensor, "B R"], limit: float = 0.4
) -> Bool[Tensor, "B R"]:
    """Regions whose intersection over union with a hidden region is above the limit, the hidden ones included.

    They show part of what is hidden; ViLBERT leaves them out of the mean over all regions (as the code of 12-in-1 does).
    """
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    area = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)
    union = area[:, :, None] + area[:, None] - shared
    near = shared / union.clamp(min=1e-12) > limit
    return hidden | (near & hidden[:, None]).any(2)
