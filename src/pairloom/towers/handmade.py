"""Hand-made picture features: colour histograms, oriented gradients, and patches of a dictionary learnt without labels, each
averaged over the picture and its mirror image.

They need no published weights. Sources: Dalal and Triggs (2005) for histograms of oriented gradients; Coates, Lee and Ng (2011)
for the dictionary: whitened patches, spherical k-means, rectified similarities, pooled over quadrants.

Does not know: texts, files of a set.

I pictures, S pixels a side, K words of the dictionary, Q values of a whitened patch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pairloom.runtime.threads import one_thread

CELLS, ORIENTATIONS = 8, 9  # of the gradients: cells a side, and directions
COLOURS = 8, 3, 4  # bins of hue, saturation and value
SIDE, PATCH, WORDS = 32, 6, 512  # the dictionary's: pixels a side of a picture and of a patch, and its size
SAMPLE, PATCHES, STEPS = 1000, 60_000, 10  # pictures and patches that it is learnt from, and steps of k-means
BATCH = 16  # pictures of every pass, the last pass padded, so that features depend on their own picture alone
CONTRAST, WHITE, LEAST = (
    0.04,
    0.1,
    1.0,
)  # added to a patch's variance and to eigenvalues; the least similarity that counts


@dataclass(frozen=True)
class HandmadeFeatures:
    """Features [I D] of small pictures, in three blocks: colours, gradients, patches.

    mean [Q], whitening [Q Q], words [K Q]: the dictionary's.
    """

    mean: Tensor
    whitening: Tensor
    words: Tensor

    @classmethod
    def learn(cls, pixels: NDArray[np.uint8], seed: int = 0) -> HandmadeFeatures:
        """Learn the dictionary from pictures uint8 [I S S 3], of which at most SAMPLE are read."""
        draw = np.random.default_rng(seed)
        rows = np.sort(draw.permutation(len(pixels))[:SAMPLE])
        with one_thread(), torch.no_grad():
            patches = torch.cat(
                [_patches(_images(pixels[part])) for part in np.array_split(rows, math.ceil(len(rows) / 64))]
            )
            patches = patches[torch.from_numpy(draw.permutation(len(patches))[:PATCHES])]
            mean = patches.mean(0)
            values, vectors = torch.linalg.eigh(torch.cov((patches - mean).T))
            whitening = vectors @ torch.diag((values.clamp(min=0) + WHITE).rsqrt()) @ vectors.T
            white = (patches - mean) @ whitening
            words = F.normalize(white[:WORDS], dim=1)
            for _ in range(STEPS):
                nearest = (white @ words.T).argmax(1)
                sums = torch.zeros_like(words).index_add_(0, nearest, white)
                empty = sums.norm(dim=1) < 1e-6
                sums[empty] = words[empty]
                words = F.normalize(sums, dim=1)
        return cls(mean, whitening, words)

    @property
    def widths(self) -> tuple[int, int, int]:
        """Numbers of features of the three blocks."""
        return 5 * math.prod(COLOURS), ORIENTATIONS * CELLS * CELLS, 4 * len(self.words)

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features [I D] of pictures uint8 [I S S 3]."""
        blocks = []
        for start in range(0, len(pixels), BATCH):
            part = np.asarray(pixels[start : start + BATCH])
            full = np.concatenate([part, np.repeat(part[:1], BATCH - len(part), axis=0)])
            with one_thread(), torch.no_grad():
                blocks.append(self._mirrored(_images(full))[: len(part)].numpy())
        return np.concatenate(blocks) if blocks else np.zeros((0, sum(self.widths)), np.float32)

    def _mirrored(self, images: Tensor) -> Tensor:
        """Features [I D], each averaged over those of the picture and of its mirror image."""
        bins = _colour_bins(images)
        straight, mirrored = (
            torch.cat([_colours(index), _gradients(some), self._quadrants(some)], 1)
            for some, index in ((images, bins), (images.flip(3), bins.flip(2)))
        )
        return (straight + mirrored) / 2

    @cached_property
    def _filters(self) -> Tensor:
        """The words, whitened, as linear filters of patches [Q K]."""
        return self.whitening @ self.words.T

    def _quadrants(self, images: Tensor) -> Tensor:
        """Similarities to the words above LEAST, averaged over each quadrant [I 4K]."""
        side = SIDE - PATCH + 1
        similar = torch.addmm(-LEAST - self.mean @ self._filters, _patches(images), self._filters).relu_()
        parts = _halves(side // 2 + 1)
        halves = [similar.view(len(images), side, side, -1)[:, rows].mean(1) for rows in parts]
        return torch.cat([half[:, columns].mean(1) for half in halves for columns in parts], 1).sqrt()

    def tensors(self) -> dict[str, Tensor]:
        """The dictionary, to be saved."""
        return {"mean": self.mean, "whitening": self.whitening, "words": self.words}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> HandmadeFeatures:
        """The inverse of `tensors`."""
        return cls(tensors["mean"], tensors["whitening"], tensors["words"])


def _halves(half: int) -> tuple[slice, slice]:
    return slice(0, half), slice(half, None)


def _images(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 255


def _patches(images: Tensor) -> Tensor:
    """All patches [I * positions, Q] of pictures [I 3 S S], at SIDE pixels, each of mean 0 and variance about 1."""
    small = F.interpolate(images, size=(SIDE, SIDE), mode="area")
    patches = F.unfold(small, PATCH).transpose(1, 2).reshape(-1, 3 * PATCH * PATCH)
    patches = patches - patches.mean(1, keepdim=True)
    return patches / (patches.var(1, keepdim=True) + CONTRAST**2).sqrt()


def _colour_bins(images: Tensor) -> Tensor:
    """The bin (hue, saturation, value) of every pixel [I S S]."""
    hue, saturation, value = _hsv(images)
    hues, saturations, values = COLOURS
    index = (hue * hues).long().clamp(max=hues - 1)
    index = index * saturations + (saturation * saturations).long().clamp(max=saturations - 1)
    return index * values + (value * values).long().clamp(max=values - 1)


def _colours(index: Tensor) -> Tensor:
    """Square roots of the histograms of bins [I S S] in the whole picture and its quadrants [I 5 * bins]."""
    bins, half = math.prod(COLOURS), index.shape[1] // 2
    parts = [index, *(index[:, rows, columns] for rows in _halves(half) for columns in _halves(half))]
    first = torch.arange(len(index))[:, None] * bins  # of each picture
    counts = [(part.flatten(1) + first).flatten().bincount(minlength=len(index) * bins) for part in parts]
    shares = [count.view(-1, bins) / part[0].numel() for count, part in zip(counts, parts)]
    return torch.cat(shares, 1).sqrt()


def _hsv(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue, saturation and value, each [I S S] in [0, 1]; the hue of grey is 0."""
    red, green, blue = images.unbind(1)
    value, least = images.amax(1), images.amin(1)
    spread = (value - least).clamp(min=1e-6)
    hue = torch.where(
        value == red,
        ((green - blue) / spread) % 6,
        torch.where(value == green, (blue - red) / spread + 2, (red - green) / spread + 4),
    )
    grey = value - least < 1e-6
    return torch.where(grey, 0.0, hue / 6), (value - least) / value.clamp(min=1e-6), value


def _gradients(images: Tensor) -> Tensor:
    """Histograms of oriented gradients [I orientations * cells * cells], each cell normalised by its surroundings."""
    grey = F.pad(images.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across = grey[:, :, 1:-1, 2:] - grey[:, :, 1:-1, :-2]
    down = grey[:, :, 2:, 1:-1] - grey[:, :, :-2, 1:-1]
    length = (across**2 + down**2).sqrt()
    angle = torch.atan2(down, across) % math.pi / math.pi * ORIENTATIONS
    lower = angle.floor().long() % ORIENTATIONS
    share = angle - angle.floor()
    maps = torch.zeros(len(images), ORIENTATIONS, *images.shape[2:])
    maps.scatter_add_(1, lower, length * (1 - share))
    maps.scatter_add_(1, (lower + 1) % ORIENTATIONS, length * share)
    cells = F.adaptive_avg_pool2d(maps, CELLS)
    energy = F.avg_pool2d(cells.pow(2).sum(1, keepdim=True), 3, 1, 1).sqrt()
    return (cells / (energy + 0.02)).flatten(1)
