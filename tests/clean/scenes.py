"""Pictures that are like photos in what faults and hashes read: rough at every scale, without a symmetry."""

import numpy as np
from PIL import Image


def photo(number: int, size: tuple[int, int] = (150, 112)) -> Image.Image:
    """A picture of its own for each number: noise whose power falls with the frequency, in colour, at any size."""
    rng = np.random.default_rng(1000 + number)
    total = np.zeros((size[1], size[0], 3))
    for cells in (3, 6, 12, 24, 48):
        part = rng.integers(0, 256, (cells, cells + 1, 3), dtype=np.uint8)
        smooth = Image.Resampling.NEAREST if cells == 12 else Image.Resampling.BICUBIC  # some edges are sharp
        layer = Image.fromarray(part).resize(size, smooth)
        total += (np.asarray(layer, np.float64) - 128) / cells**0.7
    total += rng.normal(0, 40, 3)
    low, high = np.percentile(total, (1, 99))
    return Image.fromarray(np.clip((total - low) / (high - low) * 215 + 10, 0, 255).astype(np.uint8))
