"""ResNetTower: a residual network whose last map is pooled by attention.

He et al. (2016) with three convolutions as a stem, averages before every stride ("ResNet-D", He et al., 2019; Zhang,
2019), and one attending mean row in place of global average pooling (Radford et al., 2021, section 2.4).
Knows no texts and no loss.

B pictures, X Y sides, P cells of the last map and their mean, D channels of the last map, E shared embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pairloom.blocks.attention import Attention

GROWTH = 4  # channels that leave a block over channels inside


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1; a stride is an average before the last convolution and on the shortcut, or without `averages` a
    stride of the 3x3 and of the shortcut (He et al., 2016)."""

    def __init__(self, before: int, inside: int, stride: int, averages: bool = True) -> None:
        super().__init__()
        after = inside * GROWTH
        self.conv_1, self.norm_1 = nn.Conv2d(before, inside, 1, bias=False), nn.BatchNorm2d(inside)
        step = 1 if averages else stride
        self.conv_2, self.norm_2 = nn.Conv2d(inside, inside, 3, step, 1, bias=False), nn.BatchNorm2d(inside)
        self.conv_3, self.norm_3 = nn.Conv2d(inside, after, 1, bias=False), nn.BatchNorm2d(after)
        self.stride = stride if averages else 1
        self.shortcut = (
            nn.Sequential(nn.Conv2d(before, after, 1, step, bias=False), nn.BatchNorm2d(after))
            if stride > 1 or before != after
            else nn.Identity()
        )

    def forward(self, x: Float[Tensor, "B I X Y"]) -> Float[Tensor, "B O U V"]:
        y = F.relu(self.norm_1(self.conv_1(x)))
        y = F.relu(self.norm_2(self.conv_2(y)))
        if self.stride > 1:
            y, x = F.avg_pool2d(y, self.stride), F.avg_pool2d(x, self.stride)
        return F.relu(self.norm_3(self.conv_3(y)) + self.shortcut(x))


class AttentionPool(nn.Module):
    """The mean cell, as the one query, attends to all cells and itself; learned positions."""

    def __init__(self, cells: int, width: int, heads: int, embedding: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(1, cells + 1, width))
        self.attend = Attention(width, heads, out_width=embedding)

    def forward(self, x: Float[Tensor, "B D X Y"]) -> Float[Tensor, "B E"]:
        rows = x.flatten(2).transpose(1, 2)
        rows = torch.cat([rows.mean(1, keepdim=True), rows], 1) + self.positions
        return self.attend(rows[:, :1], self.attend.project(rows))[:, 0]


class ResNetTower(nn.Module):
    """Stem (a quarter of the side), stages of bottlenecks (an eighth of that), attention pool.

    stages: blocks of each of four stages; width: channels inside the first. Raises ValueError where the picture's side is
    no multiple of 32.
    """

    def __init__(
        self, stages: Sequence[int], width: int, heads: int, image_size: int, embedding: int
    ) -> None:
        super().__init__()
        if image_size % 32 or len(stages) != 4:
            raise ValueError(f"image size {image_size} is no multiple of 32, or {stages} are not four stages")
        self.image_size = image_size
        self.stem = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride, 1, bias=False)
            for before, after, stride in (
                (3, width // 2, 2),
                (width // 2, width // 2, 1),
                (width // 2, width, 1),
            )
        )
        self.stem_norms = nn.ModuleList(nn.BatchNorm2d(conv.out_channels) for conv in self.stem)
        self.stages = nn.ModuleList()
        before = width
        for at, blocks in enumerate(stages):
            inside = width << at
            stage = [
                Bottleneck(before if block == 0 else inside * GROWTH, inside, 2 if at and not block else 1)
                for block in range(blocks)
            ]
            self.stages.append(nn.Sequential(*stage))
            before = inside * GROWTH
        self.pool = AttentionPool((image_size // 32) ** 2, before, heads, embedding)
        self._initialise(before)

    def _initialise(self, last: int) -> None:
        """Every block begins as its shortcut: the gain of its last norm is nought (Goyal et al., 2017)."""
        nn.init.normal_(self.pool.positions, std=last**-0.5)
        for linear in self.pool.attend.children():
            nn.init.normal_(linear.weight, std=last**-0.5)
        for part in self.stages.modules():
            if isinstance(part, Bottleneck):
                nn.init.zeros_(part.norm_3.weight)

    def forward(self, images: Float[Tensor, "B 3 X Y"]) -> Float[Tensor, "B E"]:
        if images.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(
                f"pictures are {tuple(images.shape[-2:])}, the tower reads {self.image_size} px squares"
            )
        x = images
        for conv, norm in zip(self.stem, self.stem_norms):
            x = F.relu(norm(conv(x)))
        x = F.avg_pool2d(x, 2)
        for stage in self.stages:
            x = stage(x)
        return self.pool(x)
