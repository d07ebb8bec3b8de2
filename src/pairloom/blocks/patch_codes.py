"""Discrete codes of the patches of a picture, from a codebook that is not trained: the targets of masked image modelling.

Does not know: who hides patches, files, normalisation of pixels other than to -1 .. 1.

I pictures, H W their sides, P patches, K codes, D width, E numbers of a code.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pairloom.blocks.codebook_configs import CodebookConfig, DiscreteVaeConfig, VqKdConfig
from pairloom.blocks.discrete_vae import SCALE, CodeEncoder
from pairloom.blocks.transformer import TransformerConfig
from pairloom.blocks.vision import VisionTower

PATCH = 16  # pixels a side that a code of VQ-KD stands for


class VqKdEncoder(nn.Module):
    """Pictures in [-1, 1] to the codes of their patches: the nearest of the table to each row at length 1."""

    def __init__(self, c: VqKdConfig, side: int, codes: int) -> None:
        super().__init__()
        shape = TransformerConfig(c.width, c.depth, c.heads, "pre", 1e-6)
        self.vision = VisionTower(shape, side * PATCH, PATCH)
        self.head = nn.Sequential(nn.Linear(c.width, c.width), nn.Tanh(), nn.Linear(c.width, c.embedding))
        self.table = nn.Embedding(codes, c.embedding)

    def codes(self, images: Float[Tensor, "I 3 H W"]) -> Int[Tensor, "I P"]:
        rows = F.normalize(self.head(self.vision(images)[:, 1:]), dim=-1)
        return (self.table.weight.square().sum(1) - 2 * rows @ self.table.weight.T).argmin(-1)


class PatchCodes(nn.Module):
    """A code for each of side x side patches, row by row, of pictures of any size in [-1, 1]. Nothing of it learns."""

    def __init__(self, config: CodebookConfig, side: int, codes: int) -> None:
        super().__init__()
        self.encoder: CodeEncoder | VqKdEncoder
        if isinstance(config, DiscreteVaeConfig):
            self.encoder = CodeEncoder(config.first_width, codes, config.blocks)
        else:
            self.encoder = VqKdEncoder(config, side, codes)
        self.pixels = side * (SCALE if isinstance(config, DiscreteVaeConfig) else PATCH)
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "I 3 H W"]) -> Int[Tensor, "I P"]:
        if images.shape[-1] != self.pixels:
            images = F.interpolate(images, (self.pixels, self.pixels), mode="bicubic", antialias=True)
        return self.encoder.codes(images.clamp(-1, 1))
