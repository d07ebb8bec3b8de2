"""Networks of the discrete VAE of DALL-E (Ramesh et al., 2021, appendix A): pictures to logits of codes, an eighth of the side, and
codes to pictures.

Does not know: losses, how codes are drawn, normalisation of pixels other than to -1 .. 1.

I pictures, H W their sides, Y X those of the grid of codes (an eighth), N = Y * X, K size of the codebook, C channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

GROUPS = (1, 2, 4, 8)  # width of each group over the first one's
SCALE = 8  # side of a picture over that of its grid of codes
ENTER = 128  # channels that the decoder begins with


class GainedBlock(nn.Module):
    """x + gain * four convolutions, each after a rectifier: 3, 3, 3, 1 (encoder) or 1, 3, 3, 3 (decoder) wide. gain: 1 / depth^2."""

    def __init__(self, width: int, out: int, depth: int, sides: tuple[int, int, int, int]) -> None:
        super().__init__()
        inside, self.gain = out // 4, depth**-2
        widths = (width, inside, inside, inside, out)
        layers: list[nn.Module] = []
        for before, after, side in zip(widths, widths[1:], sides):
            layers += [nn.ReLU(), nn.Conv2d(before, after, side, padding=side // 2)]
        self.layers = nn.Sequential(*layers)
        self.shortcut = nn.Conv2d(width, out, 1) if width != out else nn.Identity()

    def forward(self, x: Float[Tensor, "I C Y X"]) -> Float[Tensor, "I O Y X"]:
        return self.shortcut(x) + self.gain * self.layers(x)


def _groups(
    enter: int, widths: tuple[int, ...], blocks: int, sides: tuple[int, int, int, int], between: nn.Module
) -> nn.Sequential:
    """Groups of `blocks` residual blocks, with `between` after each but the last."""
    stages: list[nn.Module] = []
    for index, width in enumerate(widths):
        for _ in range(blocks):
            stages.append(GainedBlock(enter, width, len(widths) * blocks, sides))
            enter = width
        stages += [between] if index + 1 < len(widths) else []
    return nn.Sequential(*stages)


class CodeEncoder(nn.Module):
    """Pictures, mapped away from 0 and 1, to logits of the codes of their cells. width: of the first group."""

    def __init__(self, width: int, codebook: int, blocks: int = 2) -> None:
        super().__init__()
        widths = tuple(width * times for times in GROUPS)
        self.enter = nn.Conv2d(3, width, 7, padding=3)
        self.groups = _groups(width, widths, blocks, (3, 3, 3, 1), nn.MaxPool2d(2))
        self.out = nn.Conv2d(widths[-1], codebook, 1)
        initialise_convolutions(self)

    def forward(self, images: Float[Tensor, "I 3 H W"]) -> Float[Tensor, "I K Y X"]:
        return self.out(F.relu(self.groups(self.enter(images))))

    def logits(self, images: Float[Tensor, "I 3 H W"]) -> Float[Tensor, "I K Y X"]:
        """Of pictures in [-1, 1]."""
        return self(away_from_edges((images + 1) / 2))

    def codes(self, images: Float[Tensor, "I 3 H W"]) -> Int[Tensor, "I N"]:
        """The likeliest code of each cell of pictures in [-1, 1], without noise, row by row (section 2.2)."""
        return self.logits(images).argmax(1).flatten(1)


class CodeDecoder(nn.Module):
    """Codes, or a distribution over codes for each cell, to the two numbers by which each channel of a pixel is distributed."""

    def __init__(self, width: int, codebook: int, blocks: int = 2) -> None:
        super().__init__()
        widths = tuple(width * times for times in reversed(GROUPS))
        self.enter = nn.Conv2d(codebook, ENTER, 1)
        up = nn.Upsample(scale_factor=2, mode="nearest")
        self.groups = _groups(ENTER, widths, blocks, (1, 3, 3, 3), up)
        self.out = nn.Conv2d(width, 6, 1)
        initialise_convolutions(self)

    def forward(self, shares: Float[Tensor, "I K Y X"]) -> Float[Tensor, "I 6 H W"]:
        """From a distribution over the codes."""
        return self._decode(self.enter(shares))

    def of_codes(self, codes: Int[Tensor, "I Y X"]) -> Float[Tensor, "I 6 H W"]:
        """From codes: the first convolution is then a table."""
        assert self.enter.bias is not None
        rows = F.embedding(codes, self.enter.weight[:, :, 0, 0].T) + self.enter.bias
        return self._decode(rows.movedim(-1, 1))

    def _decode(self, x: Tensor) -> Tensor:
        return self.out(F.relu(self.groups(x)))


def initialise_convolutions(network: nn.Module) -> None:
    """Weights from a normal of variance 1 / (inputs of a convolution), biases zero, as in the released code."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.normal_(part.weight, std=part.weight[0].numel() ** -0.5)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def away_from_edges(images: Float[Tensor, "*I 3 H W"], margin: float = 0.1) -> Float[Tensor, "*I 3 H W"]:
    """phi (appendix A.1): pictures, cut to [0, 1], into [margin, 1 - margin], where the logit of a pixel is finite."""
    return (1 - 2 * margin) * images.clamp(0, 1) + margin


def back_to_edges(values: Float[Tensor, "*I 3 H W"], margin: float = 0.1) -> Float[Tensor, "*I 3 H W"]:
    """The inverse of `away_from_edges`, cut to [0, 1]."""
    return torch.clamp((values - margin) / (1 - 2 * margin), 0, 1)
