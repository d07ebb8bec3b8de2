"""Encoder: a convolutional network by name, up to its last map; trained here or frozen as it was published.

VGG (Simonyan and Zisserman, 2014), ResNet (He et al., 2015, with the stride in the 3 x 3 convolution, as in the published
weights), GoogLeNet and Inception v3 (blocks/inception.py), and for small sets the residual stem (blocks/convnet.py).
Knows no file of weights and no writer.

B pictures, X Y sides, U V sides of the last map, C its channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

Network = Literal[
    "residual", "vgg16", "vgg19", "vgg16-fc7", "vgg19-fc7", "resnet50", "resnet101", "resnet152", "googlenet",
    "inception_v3",
]  # fmt: skip
NETWORKS: tuple[str, ...] = get_args(Network)
VGG = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}  # convolutions of each size
FC7 = "-fc7"  # after a VGG: its fully connected layers too, up to the last but one, 4,096 wide
RESNET = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3), "resnet152": (3, 8, 36, 3)}
INCEPTION = ("googlenet", "inception_v3")


class Encoder(nn.Module):
    """[B 3 X Y] -> [B C U V]; `width` is C. patch, width: of "residual" alone.

    frozen: no gradients, and its norms stay as they were published, whoever calls train().
    """

    def __init__(self, name: Network, frozen: bool, patch: int = 16, width: int = 512) -> None:
        super().__init__()
        if name.removesuffix(FC7) in VGG:
            self.network, self.width = vgg(VGG[name.removesuffix(FC7)], whole=name.endswith(FC7))
        elif name in RESNET:
            self.network, self.width = resnet(RESNET[name])
        elif name in INCEPTION:
            from pairloom.blocks import inception

            self.network, self.width = getattr(inception, name)()
        else:
            from pairloom.blocks.convnet import ResidualStem

            self.network, self.width = ResidualStem(patch, width), width
        self.frozen = frozen
        if frozen:
            self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Encoder:
        """Into training mode, unless frozen."""
        return super().train(mode and not self.frozen)

    def forward(self, images: Float[Tensor, "B 3 X Y"]) -> Float[Tensor, "B C U V"]:
        with torch.no_grad() if self.frozen else nullcontext():
            return self.network(images)


def vgg(sizes: Sequence[int], whole: bool = False) -> tuple[nn.Sequential, int]:
    """3 x 3 convolutions, halved after each group but the last: a map of 14 x 14 from 224 px is conv5 before its pooling.

    whole: pooled to 7 x 7 and read by the two fully connected layers before the classifier, as convolutions: one cell.
    """
    parts: list[nn.Module] = []
    before = 3
    for group, count in enumerate(sizes):
        after = min(64 << group, 512)
        for _ in range(count):
            parts += [nn.Conv2d(before, after, 3, 1, 1), nn.ReLU()]
            before = after
        parts.append(nn.MaxPool2d(2, 2))
    if whole:
        for side in (7, 1):
            parts += [nn.Conv2d(before, 4096, side), nn.ReLU()]
            before = 4096
        parts.insert(-4, nn.AdaptiveAvgPool2d(7))
    else:
        parts.pop()
    for part in parts:
        if isinstance(part, nn.Conv2d):  # without norms, torch's default start dies out over 16 layers
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(part.bias)  # type: ignore[arg-type]
    return nn.Sequential(*parts), before


def resnet(stages: Sequence[int]) -> tuple[nn.Sequential, int]:
    """A quarter of the side by a 7 x 7 convolution and a pooling, then four stages: 224 px -> 7 x 7 x 2048."""
    from pairloom.blocks.resnet import GROWTH, Bottleneck

    enter = nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    )
    parts, before = [enter], 64
    for at, blocks in enumerate(stages):
        inside = 64 << at
        stage = [
            Bottleneck(
                before if not block else inside * GROWTH, inside, 2 if at and not block else 1, averages=False
            )
            for block in range(blocks)
        ]
        parts.append(nn.Sequential(*stage))
        before = inside * GROWTH
    return nn.Sequential(*parts), before
