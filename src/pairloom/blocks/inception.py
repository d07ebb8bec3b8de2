"""Inception: networks whose layers look at several scales side by side, written down as tables.

GoogLeNet (Szegedy et al., 2014, arXiv 1409.4842) with batch norms, and Inception v3 (Szegedy et al., 2015, arXiv
1512.00567), each up to its last map. Knows no classes and no file of weights.

B pictures, X Y sides, U V sides of the last map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

EPS = 1e-3  # of every norm
Kernel = int | tuple[int, int]


class Unit(nn.Module):
    """Convolution, norm, ReLU. whole: padded so that only the stride makes the map smaller."""

    def __init__(self, before: int, after: int, kernel: Kernel, stride: int = 1, whole: bool = True) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = tuple(side // 2 if whole else 0 for side in sides)
        self.conv = nn.Conv2d(before, after, sides, stride, padding, bias=False)
        self.norm = nn.BatchNorm2d(after, eps=EPS)

    def forward(self, x: Float[Tensor, "B I X Y"]) -> Float[Tensor, "B O U V"]:
        return F.relu(self.norm(self.conv(x)))


class Branches(nn.ModuleList):
    """The same map through several chains, their channels side by side."""

    def forward(self, x: Float[Tensor, "B I X Y"]) -> Float[Tensor, "B O U V"]:
        return torch.cat([branch(x) for branch in self], 1)


def chain(before: int, steps: Sequence[Any]) -> tuple[nn.Sequential, int]:
    """A network from a table, and its last number of channels.

    A step is (channels, kernel[, stride[, whole]]), a list of tables (branches), or a pooling layer.
    """
    parts: list[nn.Module] = []
    for step in steps:
        if isinstance(step, nn.Module):
            parts.append(step)
        elif isinstance(step, list):
            branches = [chain(before, branch) for branch in step]
            parts.append(Branches(branch for branch, _ in branches))
            before = sum(after for _, after in branches)
        else:
            parts.append(Unit(before, *step))
            before = step[0]
    return nn.Sequential(*parts), before


def googlenet() -> tuple[nn.Sequential, int]:
    """GoogLeNet: 224 px -> 7 x 7 x 1024. Its "5 x 5" branches are 3 x 3, as in the published weights."""

    def mixed(one: int, to_three: int, three: int, to_five: int, five: int, pool: int) -> list[Any]:
        small = nn.MaxPool2d(3, 1, 1)
        return [[(one, 1)], [(to_three, 1), (three, 3)], [(to_five, 1), (five, 3)], [small, (pool, 1)]]

    half = nn.MaxPool2d(3, 2, ceil_mode=True)
    return chain(3, [
        (64, 7, 2), half, (64, 1), (192, 3), half,
        mixed(64, 96, 128, 16, 32, 32), mixed(128, 128, 192, 32, 96, 64), half,
        mixed(192, 96, 208, 16, 48, 64), mixed(160, 112, 224, 24, 64, 64), mixed(128, 128, 256, 24, 64, 64),
        mixed(112, 144, 288, 32, 64, 64), mixed(256, 160, 320, 32, 128, 128), nn.MaxPool2d(2, 2, ceil_mode=True),
        mixed(256, 160, 320, 32, 128, 128), mixed(384, 192, 384, 48, 128, 128),
    ])  # fmt: skip


def inception_v3() -> tuple[nn.Sequential, int]:
    """Inception v3: 299 px -> 8 x 8 x 2048. Five kinds of layer, as figures 5, 6, 7 and 10 there draw them."""
    half, mean = nn.MaxPool2d(3, 2), nn.AvgPool2d(3, 1, 1)
    across, down = (1, 7), (7, 1)

    def five(pool: int) -> list[Any]:
        return [[(64, 1)], [(48, 1), (64, 5)], [(64, 1), (96, 3), (96, 3)], [mean, (pool, 1)]]

    def seven(c: int) -> list[Any]:
        twice = [(c, 1), (c, down), (c, across), (c, down), (192, across)]
        return [[(192, 1)], [(c, 1), (c, across), (192, down)], twice, [mean, (192, 1)]]

    def wide() -> list[Any]:
        split = [[(384, (1, 3))], [(384, (3, 1))]]
        return [[(320, 1)], [(384, 1), split], [(448, 1), (384, 3), split], [mean, (192, 1)]]

    stem = [(32, 3, 2, False), (32, 3, 1, False), (64, 3), half, (80, 1), (192, 3, 1, False), half]
    to_17 = [[(384, 3, 2, False)], [(64, 1), (96, 3), (96, 3, 2, False)], [half]]
    to_8 = [
        [(192, 1), (320, 3, 2, False)],
        [(192, 1), (192, across), (192, down), (192, 3, 2, False)],
        [half],
    ]
    return chain(3, [
        *stem, five(32), five(64), five(64), to_17,
        seven(128), seven(160), seven(160), seven(192), to_8, wide(), wide(),
    ])  # fmt: skip
