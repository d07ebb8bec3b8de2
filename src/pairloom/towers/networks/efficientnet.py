"""EfficientNet B0 to B7 (Tan and Le, 2019) and EfficientNet-Lite 0 to 4 (Liu, 2020): inverted bottlenecks, scaled.

Lite differs: no squeeze-and-excitation, ReLU6 in place of SiLU, stem, head and the repeats of the first and the last stage not
scaled, pixels (value - 127) / 128. How the layouts name the tensors: _efficientnet_names.py.

I pictures, S pixels a side, X Y sides of a map, P cells of the last map, D its channels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pairloom.errors import Mistake
from pairloom.towers.networks._efficientnet_names import ENDS, PARTS, layout_of, places
from pairloom.towers.preparation import HALVES, IMAGENET, Preparation
from pairloom.towers.pretrained import PretrainedNetwork, WeightFile, fill

CLAIM = "EfficientNet B0 to B7 and EfficientNet-Lite 0 to 4"
MODEL_TYPES = ("efficientnet",)
LITE_PIXELS = (127 / 255,) * 3, (128 / 255,) * 3
# sides of the picture and of the resized one in torchvision's evaluation, of B0, B1 ...
TORCHVISION = (224, 256), (240, 256), (288, 288), (300, 320), (380, 384), (456, 456), (528, 528), (600, 600)
CLASSIFIER = "_fc.", "classifier.", "pooler."
BORDER = 32  # pixels of the resized side that the centre crop of the published evaluation leaves out


class Stage(NamedTuple):
    """Blocks of one resolution: kernel and stride of the depthwise convolution, expansion, channels that leave, repeats."""

    kernel: int
    stride: int
    expansion: int
    channels: int
    repeats: int


STAGES = (
    Stage(3, 1, 1, 16, 1),
    Stage(3, 2, 6, 24, 2),
    Stage(5, 2, 6, 40, 2),
    Stage(3, 2, 6, 80, 3),
    Stage(5, 1, 6, 112, 3),
    Stage(5, 2, 6, 192, 4),
    Stage(3, 1, 6, 320, 1),
)  # of B0
STEM, HEAD = 32, 1280


@dataclass(frozen=True)
class EfficientNetConfig:
    """width, depth: factors of channels and repeats. size: pixels a side of the published evaluation. eps: of batch norms.
    same: TensorFlow's padding, which puts the odd pixel of a strided convolution behind, in place of the symmetric one."""

    width: float
    depth: float
    size: int
    lite: bool = False
    eps: float = 1e-5
    same: bool = False

    def channels(self, count: int) -> int:
        """Scaled to the nearest multiple of eight that loses no more than a tenth."""
        scaled = count * self.width
        near = max(8, int(scaled + 4) // 8 * 8)
        return near + 8 if near < 0.9 * scaled else near

    @property
    def stem(self) -> int:
        return STEM if self.lite else self.channels(STEM)

    @property
    def head(self) -> int:
        return HEAD if self.lite else self.channels(HEAD)

    def repeats(self, stage: int) -> int:
        """Number of blocks of a stage."""
        fixed = self.lite and stage in (0, len(STAGES) - 1)
        return STAGES[stage].repeats if fixed else math.ceil(STAGES[stage].repeats * self.depth)


KNOWN = {
    **{
        f"efficientnet-b{at}": EfficientNetConfig(width, depth, size)
        for at, (width, depth, size) in enumerate(
            ((1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 260), (1.2, 1.4, 300), (1.4, 1.8, 380), (1.6, 2.2, 456),
             (1.8, 2.6, 528), (2.0, 3.1, 600))
        )
    },
    **{
        f"efficientnet-lite{at}": EfficientNetConfig(width, depth, size, lite=True)
        for at, (width, depth, size) in enumerate(
            ((1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 260), (1.2, 1.4, 280), (1.4, 1.8, 300))
        )
    },
}  # fmt: skip


class ConvNorm(nn.Module):
    """Convolution, batch norm, activation. same: see `EfficientNetConfig`."""

    def __init__(
        self,
        before: int,
        after: int,
        kernel: int,
        stride: int,
        groups: int,
        activation: nn.Module,
        config: EfficientNetConfig,
    ) -> None:
        super().__init__()
        self.same = config.same and stride > 1
        padding = 0 if self.same else kernel // 2
        self.conv = nn.Conv2d(before, after, kernel, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(after, config.eps)
        self.activation = activation

    def forward(self, x: Float[Tensor, "I _ X Y"]) -> Float[Tensor, "I _ _ _"]:
        if self.same:
            kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
            missing = [
                max(0, (math.ceil(side / stride) - 1) * stride + kernel - side) for side in x.shape[2:]
            ]
            x = F.pad(x, [pad for side in missing[::-1] for pad in (side // 2, side - side // 2)])
        return self.activation(self.norm(self.conv(x)))


class SqueezeExcite(nn.Module):
    """Channels scaled by what the mean over the map says (Hu et al., 2018)."""

    def __init__(self, channels: int, inside: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, inside, 1)
        self.up = nn.Conv2d(inside, channels, 1)

    def forward(self, x: Float[Tensor, "I C X Y"]) -> Float[Tensor, "I C X Y"]:
        return x * self.up(F.silu(self.down(x.mean((2, 3), keepdim=True)))).sigmoid()


class InvertedBottleneck(nn.Module):
    """1x1 that widens, depthwise convolution, squeeze-and-excitation, 1x1 that narrows; a shortcut where the shapes agree
    (Sandler et al., 2018; Tan and Le, 2019)."""

    def __init__(
        self, before: int, after: int, stage: Stage, stride: int, config: EfficientNetConfig
    ) -> None:
        super().__init__()
        inside = before * stage.expansion
        activation = nn.ReLU6(inplace=True) if config.lite else nn.SiLU(inplace=True)
        widens = stage.expansion > 1
        self.expand = ConvNorm(before, inside, 1, 1, 1, activation, config) if widens else nn.Identity()
        self.depthwise = ConvNorm(inside, inside, stage.kernel, stride, inside, activation, config)
        self.squeeze = nn.Identity() if config.lite else SqueezeExcite(inside, max(1, before // 4))
        self.project = ConvNorm(inside, after, 1, 1, 1, nn.Identity(), config)
        self.adds = stride == 1 and before == after

    def forward(self, x: Float[Tensor, "I _ X Y"]) -> Float[Tensor, "I _ _ _"]:
        y = self.project(self.squeeze(self.depthwise(self.expand(x))))
        return x + y if self.adds else y


class EfficientNet(nn.Module):
    """[I 3 S S] -> cells [I P D] of the last map, and their mean [I D]. stage_of: the stage and the place in it of each block."""

    def __init__(self, config: EfficientNetConfig) -> None:
        super().__init__()
        activation = nn.ReLU6(inplace=True) if config.lite else nn.SiLU(inplace=True)
        self.stem = ConvNorm(3, config.stem, 3, 2, 1, activation, config)
        self.blocks = nn.ModuleList()
        self.stage_of: list[tuple[int, int]] = []
        before = config.stem
        for at, stage in enumerate(STAGES):
            after = config.channels(stage.channels)
            for repeat in range(config.repeats(at)):
                stride = 1 if repeat else stage.stride
                self.blocks.append(InvertedBottleneck(before, after, stage, stride, config))
                self.stage_of.append((at, repeat))
                before = after
        self.head = ConvNorm(before, config.head, 1, 1, 1, activation, config)

    def forward(
        self, images: Float[Tensor, "I 3 S S"]
    ) -> tuple[Float[Tensor, "I P D"], Float[Tensor, "I D"]]:
        x = self.stem(images)
        for block in self.blocks:
            x = block(x)
        cells = self.head(x).flatten(2).transpose(1, 2)
        return cells, cells.mean(1)


def sniff(names: Collection[str]) -> bool:
    """Whether the names of a file's tensors are EfficientNet's in one of its layouts."""
    return layout_of(names) is not None


def build(weights: WeightFile) -> PretrainedNetwork:
    """The network of a file, with its weights. Mistake where it is no EfficientNet of a known size."""
    layout = layout_of(weights.tensors) or ""
    name, config = _config(weights, layout)
    network = EfficientNet(config)
    known = places(layout, network.stage_of, network.state_dict())
    fill(network, weights.tensors, known, weights.where, CLASSIFIER)
    mean, std = _pixels(weights, layout, config.lite)
    size, resize = (
        TORCHVISION[int(name[-1])] if layout == "torchvision" else (config.size, config.size + BORDER)
    )
    preparation = Preparation(size, mean, std, "crop", resize)
    return PretrainedNetwork(name, network, preparation, config.head)


def _config(weights: WeightFile, layout: str) -> tuple[str, EfficientNetConfig]:
    """Name and numbers of a file's network: by transformers' config where there is one, else by the shapes of its tensors."""
    document = weights.config
    if {"width_coefficient", "depth_coefficient"} <= document.keys():
        width, depth = float(document["width_coefficient"]), float(document["depth_coefficient"])
        eps, size = float(document.get("batch_norm_eps", 1e-3)), int(document.get("image_size", 224))
        config = EfficientNetConfig(width, depth, size, eps=eps, same=True)
        known = [
            name for name, one in KNOWN.items() if (one.width, one.depth, one.lite) == (width, depth, False)
        ]
        return (known or ["efficientnet"])[0], config
    blocks, channels, lite = _shape(weights.tensors, layout)
    for name, config in KNOWN.items():
        repeats = sum(map(config.repeats, range(len(STAGES))))
        if (repeats, config.channels(STAGES[-1].channels), config.lite) == (blocks, channels, lite):
            of_google = layout in ("google", "transformers") or weights.stated.startswith("tf_")
            deep = layout == "torchvision" and name[-1] in "567"
            return name, replace(config, same=of_google, eps=1e-3 if of_google or deep else 1e-5)
    raise Mistake(
        f"{weights.where} is no EfficientNet of a size that is known here.",
        f"It has {blocks} blocks, and the last of them gives {channels} channels.",
        f"Known: {', '.join(KNOWN)}.",
    )


def _shape(tensors: Mapping[str, Tensor], layout: str) -> tuple[int, int, bool]:
    """Number of blocks, channels that leave the last of them, and whether there is no squeeze-and-excitation."""
    head = ENDS[layout][1][0]
    block = {
        "google": r"_blocks\.\d+\.",
        "transformers": r"encoder\.blocks\.\d+\.",
        "torchvision": r"features\.[1-7]\.\d+\.",
        "timm": r"blocks\.\d+\.\d+\.",
    }[layout]
    blocks = {match[0] for name in tensors if (match := re.match(block, name))}
    squeeze = PARTS[layout][3][0]
    if f"{head}.weight" not in tensors:
        raise Mistake(
            "There is no last convolution in this EfficientNet.", f"'{head}.weight' is missing.", ""
        )
    return (
        len(blocks),
        tensors[f"{head}.weight"].shape[1],
        not any(f"{squeeze}.weight" in name for name in tensors),
    )


def _pixels(weights: WeightFile, layout: str, lite: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the pixels in the training of a file's weights."""
    if not lite:
        return IMAGENET
    if layout == "google":
        return LITE_PIXELS
    return HALVES if weights.stated.startswith("tf_") else IMAGENET
