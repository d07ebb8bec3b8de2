"""Views: how the judge `self` looks at a small set of small pictures, in training.

Crops, mirrors and shifts of colour make a thousand pictures do for many. A picture whose text says left or right is
never mirrored. Does not know: networks, scores.

B pictures, H W sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from pairloom.data.transform import OPENAI_MEAN, OPENAI_STD

STEPS = 256  # a chance of 24 bits gives three draws of so many steps


@dataclass(frozen=True)
class AugmentedImages:
    """Training views of uint8 pictures [M H W 3] (the loader's Pictures).

    crop: smallest share of the area that stays. stretch: log of the largest change of a crop's shape. flip: chance of
    mirroring. colour: largest change of contrast, half of that of brightness, a quarter of that of each channel.
    """

    pixels: NDArray[np.uint8]
    mean: Sequence[float] = OPENAI_MEAN
    std: Sequence[float] = OPENAI_STD
    crop: float = 0.4
    stretch: float = 0.2
    flip: float = 0.5
    colour: float = 0.2

    def __len__(self) -> int:
        return len(self.pixels)

    def identity(self) -> str:
        """Every setting and the pictures' shape."""
        return repr((self.pixels.shape, self.crop, self.stretch, self.flip, self.colour))

    def look(
        self, rows: NDArray[np.int64], chance: Tensor, sided: Tensor
    ) -> tuple[Tensor, NDArray[np.int64]]:
        """Normalised floats [B 3 H W], one random view of each picture, and range(B): each row shows itself.

        chance [B 4] in [0, 1) is all the randomness; sided [B]: not mirrored.
        """
        raw = torch.from_numpy(np.ascontiguousarray(self.pixels[rows])).permute(0, 3, 1, 2).contiguous()
        draws = _digits(chance)
        moved = self._move(raw.float(), draws[:, :5], sided)
        return self._paint(moved, draws[:, 6:11]), np.arange(len(rows))

    def _move(self, images: Tensor, draws: Tensor, sided: Tensor) -> Tensor:
        """Crop and mirror as one resampling: an affine map of each picture."""
        side = (self.crop + (1 - self.crop) * draws[:, 0]).sqrt()
        shape = ((2 * draws[:, 1] - 1) * self.stretch / 2).exp()
        wide, high = (side * shape).clamp(max=1), (side / shape).clamp(max=1)
        mirror = torch.where((draws[:, 4] < self.flip) & ~sided, -1.0, 1.0)
        matrix = torch.zeros(len(images), 2, 3)
        matrix[:, 0, 0], matrix[:, 1, 1] = mirror * wide, high
        matrix[:, 0, 2] = (1 - wide) * (2 * draws[:, 2] - 1)
        matrix[:, 1, 2] = (1 - high) * (2 * draws[:, 3] - 1)
        grid = affine_grid(matrix, list(images.shape), align_corners=False)
        return grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)

    def _paint(self, images: Tensor, draws: Tensor) -> Tensor:
        """Contrast about mid-grey, brightness, a tint; then the normalisation. Values stay floats."""
        change = (2 * draws - 1) * self.colour
        gain, shift = 1 + change[:, :1], 127.5 * (change[:, 1:2] / 2 + change[:, 2:] / 4)
        images = (images - 127.5) * gain[..., None, None] + (127.5 + shift)[..., None, None]
        mean, std = 255.0 * torch.tensor(self.mean), 255.0 * torch.tensor(self.std)
        return (images - mean[:, None, None]) / std[:, None, None]


def _digits(chance: Tensor) -> Tensor:
    """[B C] uniform draws -> [B 3C] coarser ones, independent of each other."""
    whole = chance.double() * STEPS
    second = (whole - whole.floor()) * STEPS
    third = (second - second.floor()) * STEPS
    return torch.cat([part.floor() / STEPS for part in (whole, second, third)], 1).float()
