"""From token ids and pixels to rows of a transformer.

B rows, T tokens, P patches, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pairloom.blocks.convnet import ResidualStem

Stem = Literal["patch", "plain", "conv", "residual"]


class TextEmbed(nn.Module):
    """Word plus learned position, norm (none where eps is None), dropout."""

    def __init__(
        self, vocabulary: int, positions: int, width: int, eps: float | None, dropout: float
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(positions, width)
        self.norm = nn.Identity() if eps is None else nn.LayerNorm(width, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Int[Tensor, "B T"], first: int = 0) -> Float[Tensor, "B T D"]:
        """first: the position of the first column. Raises ValueError past the last learned position."""
        last = first + tokens.shape[1]
        if last > self.positions.num_embeddings:
            raise ValueError(
                f"a text of {last} tokens is longer than the {self.positions.num_embeddings} positions"
            )
        return self.dropout(self.norm(self.words(tokens) + self.positions.weight[first:last]))


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
        self.patch = STEMS[stem](patch, width)
        self.class_row = nn.Parameter(torch.zeros(1, 1, width)) if class_row else None
        self.positions = nn.Parameter(torch.zeros(1, class_row + (image_size // patch) ** 2, width))
        if self.class_row is not None:
            nn.init.trunc_normal_(self.class_row, std=0.02)
        nn.init.trunc_normal_(self.positions, std=0.02)
        if stem == "residual":
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


def conv_stem(patch: int, width: int) -> nn.Sequential:
    """[B 3 X Y] -> [B width X/patch Y/patch] by halvings. Raises ValueError where patch is no power of two above 1."""
    halvings = patch.bit_length() - 1
    if patch != 2**halvings or not halvings:
        raise ValueError(f"a convolution stem halves the picture: patch {patch} is no power of two")
    sizes = [3] + [max(8, width >> (halvings - step)) for step in range(1, halvings + 1)]
    layers: list[nn.Module] = []
    for before, after in zip(sizes, sizes[1:]):
        layers += [
            nn.Conv2d(before, after, 3, 2, 1, bias=False),
            nn.GroupNorm(1, after),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers, nn.Conv2d(sizes[-1], width, 1))


def sinusoidal_positions_2d(side: int, width: int) -> Float[Tensor, "P D"]:
    """Positions of a square grid: sines and cosines of the row, then of the column (Vaswani et al., 2017, section 3.5, in
    two dimensions). Raises ValueError where width is no multiple of four."""
    if width % 4:
        raise ValueError(f"width {width} is no multiple of four")
    speeds = 100.0 ** -(torch.arange(width // 4) / (width // 4))
    waves = torch.arange(side)[:, None] * speeds
    line = torch.cat([waves.sin(), waves.cos()], 1)
    return torch.cat([line.repeat_interleave(side, 0), line.repeat(side, 1)], 1)


def patch_stem(patch: int, width: int) -> nn.Conv2d:
    """One projection of each patch (Dosovitskiy et al., 2020)."""
    return nn.Conv2d(3, width, patch, patch)


def plain_stem(patch: int, width: int) -> nn.Conv2d:
    """The same without a bias: the norm that follows has one."""
    return nn.Conv2d(3, width, patch, patch, bias=False)


STEMS: dict[str, Callable[[int, int], nn.Module]] = {
    "patch": patch_stem,
    "plain": plain_stem,
    "conv": conv_stem,
    "residual": ResidualStem,
}


def resize_positions(table: Float[Tensor, "1 P D"], rows: int) -> Float[Tensor, "1 Q D"]:
    """The position table of a square grid for that of another, with `rows` rows: bicubic. A table of one row more than a
    square begins with a class row, which is kept."""
    lead = int(round(table.shape[1] ** 0.5) ** 2 != table.shape[1])
    old, new = round((table.shape[1] - lead) ** 0.5), round((rows - lead) ** 0.5)
    if old * old != table.shape[1] - lead or new * new != rows - lead:
        raise ValueError(f"{table.shape[1] - lead} or {rows - lead} patches are no square")
    if old == new:
        return table
    grid = table[:, lead:].unflatten(1, (old, old)).permute(0, 3, 1, 2)
    grid = F.interpolate(grid.float(), (new, new), mode="bicubic", align_corners=False).to(table.dtype)
    return torch.cat([table[:, :lead], grid.flatten(2).transpose(1, 2)], 1)
