"""Masked image modelling: which patches of a picture are hidden.

I pictures, P patches of a square grid.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool
from torch import Tensor


def mask_blocks(count: int, side: int, share: float, generator: torch.Generator) -> Bool[Tensor, "I P"]:
    """Block-wise masking (Bao et al., 2021, BEiT): rectangles of at least 16 patches (or the share, if that is less) and an aspect of .3
    to 1 / .3 are hidden until the share is reached; the last one is cut to it."""
    most = max(1, round(share * side**2))
    mask = torch.zeros(count, side, side, dtype=torch.bool)
    for picture in mask:
        while (lacking := most - int(picture.sum())) > 0:
            draw = torch.rand(4, generator=generator)
            area = min(16, lacking) + float(draw[0]) * max(0, lacking - 16)
            aspect = math.exp((2 * float(draw[1]) - 1) * math.log(1 / 0.3))
            height, width = (
                max(1, min(side, round(edge)))
                for edge in (math.sqrt(area * aspect), math.sqrt(area / aspect))
            )
            top, left = (
                int(one * (side - edge + 1)) for one, edge in zip(draw[2:].tolist(), (height, width))
            )
            new = torch.zeros_like(picture)
            new[top : top + height, left : left + width] = True
            places = (new & ~picture).flatten().nonzero()[:lacking, 0]
            picture.view(-1)[places] = True
    return mask.flatten(1)
