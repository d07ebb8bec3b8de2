"""Augmentation for the training of the judge `self` on a small set of small pictures: crops, mirror images and changes of
colour. A picture whose text has left or right is never mirrored. Does not know: networks, scores.

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

from pairloom.data.loader import SIDES
from pairloom.data.pair import seed_of
from pairloom.data.transform import OPENAI_MEAN, OPENAI_STD, Transform

SLIGHT = 0.8, 0.1  # crop and stretch of slightly changed pictures
STEPS = 256  # a random number of 24 bits gives three draws with so many values each


@dataclass(frozen=True)
class AugmentedImages:
    """Augmented views of uint8 pictures [M H W 3], as the loader's picture source.

    crop: smallest share of the area that remains. stretch: log of the largest change of a crop's aspect ratio. flip:
    probability of mirroring. colour: largest change of contrast; that of brightness is half of it, that of each channel a
    quarter.
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
        """All settings, and the shape of the pictures."""
        return repr((self.pixels.shape, self.crop, self.stretch, self.flip, self.colour))

    def look(
        self, rows: NDArray[np.int64], chance: Tensor, sided: Tensor
    ) -> tuple[Tensor, NDArray[np.int64]]:
        """One random view of each picture, normalised floats [B 3 H W], and range(B), since each row has its own view.

        chance [B 4]: uniform random numbers in [0, 1), the only randomness. sided [B]: pictures that are not mirrored.
        """
        raw = torch.from_numpy(np.ascontiguousarray(self.pixels[rows])).permute(0, 3, 1, 2).contiguous()
        draws = _digits(chance)
        moved = self._move(raw.float(), draws[:, :5], sided)
        return self._paint(moved, draws[:, 6:11]), np.arange(len(rows))

    def _move(self, images: Tensor, draws: Tensor, sided: Tensor) -> Tensor:
        """Crop and mirror by one resampling, an affine map of each picture."""
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
        """Change contrast about mid-grey, brightness and tint, then normalise. Values are not rounded."""
        change = (2 * draws - 1) * self.colour
        gain, shift = 1 + change[:, :1], 127.5 * (change[:, 1:2] / 2 + change[:, 2:] / 4)
        images = (images - 127.5) * gain[..., None, None] + (127.5 + shift)[..., None, None]
        mean, std = 255.0 * torch.tensor(self.mean), 255.0 * torch.tensor(self.std)
        return (images - mean[:, None, None]) / std[:, None, None]


@dataclass(frozen=True)
class FixedViews:
    """Views of pictures uint8 [M S S 3], each always the same: the first is the picture, the others are slight changes of it.
    texts: of each picture."""

    pixels: NDArray[np.uint8]
    texts: Sequence[Sequence[str]]
    transform: Transform
    seed: int

    def __call__(self, rows: NDArray[np.int64], view: int) -> Tensor:
        """A view of each of these rows, normalised floats [B 3 S S]."""
        if not view:
            return torch.from_numpy(self.transform.normalise(np.asarray(self.pixels[rows])))
        images = AugmentedImages(self.pixels, self.transform.mean, self.transform.std, *SLIGHT)
        chance = np.random.default_rng(seed_of("view", self.seed, view)).random((len(images), 4), np.float32)
        sided = [any(map(SIDES.search, self.texts[row])) for row in rows.tolist()]
        return images.look(rows, torch.from_numpy(chance[rows]), torch.tensor(sided))[0]


def _digits(chance: Tensor) -> Tensor:
    """Split uniform random numbers [B C] into coarser independent ones [B 3C]."""
    whole = chance.double() * STEPS
    second = (whole - whole.floor()) * STEPS
    third = (second - second.floor()) * STEPS
    return torch.cat([part.floor() / STEPS for part in (whole, second, third)], 1).float()
