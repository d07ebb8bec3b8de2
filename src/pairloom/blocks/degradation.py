"""Degradations of pictures: what a network that enlarges pictures learns to undo.

B pictures, Y X sides.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def gaussian_blur(
    images: Float[Tensor, "B C Y X"], sigma: float, kernel: int = 3
) -> Float[Tensor, "B C Y X"]:
    """Blur by a normal kernel of an odd number of pixels; edges are mirrored."""
    places = torch.arange(kernel, device=images.device, dtype=images.dtype) - kernel // 2
    line = torch.exp(-places.square() / (2 * sigma * sigma))
    square = torch.outer(line, line) / line.sum().square()
    channels, edge = images.shape[1], kernel // 2
    padded = F.pad(images, (edge, edge, edge, edge), mode="reflect")
    return F.conv2d(padded, square.expand(channels, 1, kernel, kernel), groups=channels)


def random_degradation(
    images: Float[Tensor, "B C Y X"], generator: torch.Generator
) -> Float[Tensor, "B C Y X"]:
    """Blur, loss of resolution and noise of random strength, in random order (after BSRGAN, Zhang et al., 2021). Values in [-1, 1].

    The strengths are of the batch, the noise is each picture's own.
    """
    width, factor, spread = (float(one) for one in torch.rand(3, generator=generator))
    side = max(2, round(images.shape[-1] * (0.5 + 0.5 * factor)))
    noise = torch.randn(images.shape, generator=generator).to(images.device)

    def shrunken(x: Tensor) -> Tensor:
        small = F.interpolate(x, (side, side), mode="bilinear", align_corners=False, antialias=True)
        return F.interpolate(small, x.shape[-2:], mode="bicubic", align_corners=False)

    steps = (
        lambda x: gaussian_blur(x, 0.2 + 1.3 * width, 5 if x.shape[-1] > 4 else 3),
        shrunken,
        lambda x: x + 0.1 * spread * noise,
    )
    for step in torch.randperm(len(steps), generator=generator).tolist():
        images = steps[step](images)
    return images.clamp(-1, 1)
