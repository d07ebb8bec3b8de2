"""Residual stem: convolutions that see a small picture before a transformer does, for sets too small for patches.

A hybrid as in Dosovitskiy et al. (2020, section 3.1): the rows of the transformer are the cells of a small residual
network's (He et al., 2016) last feature map. Knows no positions and no class row.

B pictures, X Y sides.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions round a shortcut; stride 2 averages the shortcut down (He et al., 2019, "ResNet-D")."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm_one = nn.BatchNorm2d(after)
        self.two = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm_two = nn.BatchNorm2d(after)
        self.shortcut = (
            nn.Identity()
            if before == after and stride == 1
            else nn.Sequential(
                nn.AvgPool2d(stride), nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after)
            )
        )

    def forward(self, x: Float[Tensor, "B I X Y"]) -> Float[Tensor, "B O U V"]:
        y = F.relu(self.norm_one(self.one(x)))
        return F.relu(self.norm_two(self.two(y)) + self.shortcut(x))


class ResidualStem(nn.Module):
    """[B 3 X Y] -> [B width X/patch Y/patch]: one block per halving, channels doubling up to `width`.

    Raises ValueError where patch is no power of two above 1, or width cannot be halved so often.
    """

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        halvings = patch.bit_length() - 1
        if patch != 2**halvings or not halvings:
            raise ValueError(f"a residual stem halves the picture: patch {patch} is no power of two")
        sizes = [max(8, width >> (halvings - step)) for step in range(1, halvings + 1)]
        self.enter = nn.Sequential(
            nn.Conv2d(3, sizes[0], 5, 2, 2, bias=False), nn.BatchNorm2d(sizes[0]), nn.ReLU()
        )
        pairs = zip([sizes[0], *sizes[:-1]], sizes)
        self.blocks = nn.Sequential(
            *(ResidualBlock(before, after, 1 if at == 0 else 2) for at, (before, after) in enumerate(pairs))
        )

    def forward(self, images: Float[Tensor, "B 3 X Y"]) -> Float[Tensor, "B D U V"]:
        return self.blocks(self.enter(images.contiguous(memory_format=torch.channels_last)))


@torch.no_grad()
def recalibrate_batch_norm(network: nn.Module, passes: Iterable[object]) -> None:
    """Set every batch norm's mean and variance to their average over `passes`, each of which runs the network once.

    For weights that are an average over steps: the running statistics belong to other weights (Izmailov et al., 2018,
    section 3.2). Leaves the network in evaluation mode; one without batch norms is not run at all.
    """
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    network.eval()
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average
        norm.train()
    for _ in passes:
        pass
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
    network.eval()


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
