"""From pixels to rows of a transformer.

B pictures, P patches, D width.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Stem = Literal["patch", "plain", "conv", "residual"]


class PatchEmbed(nn.Module):
    """A class row (unless there is to be none), then one row per patch, plus learned positions (Dosovitskiy et al., 2020).

    stem "plain": the patch projection without a bias.
    stem "conv": stride-2 3x3 convolutions and a 1x1 instead of one patch-wide projection (Xiao et al., 2021,
    "Early convolutions help transformers see better", with group norm, which lets no neighbour of the batch in).
    stem "residual": a small residual network (blocks/convnet.py), and a class row that begins as the mean of the patches,
    so that a transformer of few layers, or none, has a picture to start from. Its positions begin as sines (`sines`),
    because contrast through the class row alone never teaches the patches where they are.
    """

    def __init__(
        self, image_size: int, patch: int, width: int, stem: Stem = "patch", class_row: bool = True
    ) -> None:
        super().__init__()
        if image_size % patch:
            raise ValueError(f"image size {image_size} is not a multiple of patch {patch}")
        self.image_size = image_size
        self.stem = stem
        self.patch = stem_of(stem, patch, width)
        self.class_row = nn.Parameter(torch.zeros(1, 1, width)) if class_row else None
        self.positions = nn.Parameter(torch.zeros(1, class_row + (image_size // patch) ** 2, width))
        if self.class_row is not None:
            nn.init.trunc_normal_(self.class_row, std=0.02)
        nn.init.trunc_normal_(self.positions, std=0.02)
        if stem == "residual":
            from pairloom.blocks.positions import sinusoidal_positions_2d

            self.positions.data[0, int(class_row) :] = sinusoidal_positions_2d(image_size // patch, width)

    def forward(self, images: Float[Tensor, "B 3 X Y"]) -> Float[Tensor, "B P D"]:
        """Raises ValueError for another size than it was built for (see `resize_positions`)."""
        if images.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(
                f"pictures are {tuple(images.shape[-2:])}, the tower reads {self.image_size} px squares"
            )
        x = self.patch(images).flatten(2).transpose(1, 2)
        if self.class_row is None:
            return x + self.positions
        first = self.class_row.expand(len(x), -1, -1).to(x.dtype)
        if self.stem == "residual":
            first = first + x.mean(1, keepdim=True)
        return torch.cat([first, x], 1) + self.positions


def stem_of(kind: Stem, patch: int, width: int) -> nn.Module:
    """[B 3 X Y] -> [B width X/patch Y/patch]. The one projection of each patch (Dosovitskiy et al., 2020) has no bias in a "plain" stem,
    since the norm that follows has one."""
    if kind in ("patch", "plain"):
        return nn.Conv2d(3, width, patch, patch, bias=kind == "patch")
    from pairloom.blocks.convnet import ResidualStem, conv_stem

    return conv_stem(patch, width) if kind == "conv" else ResidualStem(patch, width)
