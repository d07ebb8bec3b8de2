"""VisionTower: a plain pre-norm vision transformer that hands out every row.

B pictures, P rows (class row first, where there is one, then patches), D width.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from pairloom.blocks.patch_embed import PatchEmbed, Stem
from pairloom.blocks.transformer import Stack, TransformerConfig


class VisionTower(nn.Module):
    """Patches, stack, last norm (Dosovitskiy et al., 2020); with `norm_first` a norm before the stack too, without
    `norm_last` none after it (for who norms by himself), without `class_row` the patches alone."""

    def __init__(
        self,
        shape: TransformerConfig,
        image_size: int,
        patch: int,
        stem: Stem = "patch",
        norm_first: bool = False,
        norm_last: bool = True,
        class_row: bool = True,
    ) -> None:
        super().__init__()
        self.embed = PatchEmbed(image_size, patch, shape.width, stem, class_row)
        self.first_norm = nn.LayerNorm(shape.width, eps=shape.eps) if norm_first else nn.Identity()
        self.stack = Stack(shape)
        self.norm = nn.LayerNorm(shape.width, eps=shape.eps) if norm_last else nn.Identity()

    def forward(self, images: Float[Tensor, "B 3 X Y"]) -> Float[Tensor, "B P D"]:
        return self.norm(self.stack(self.first_norm(self.embed(images))))
