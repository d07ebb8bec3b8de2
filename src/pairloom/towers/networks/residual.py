"""ResNet 18 to 152 (He et al., 2016), with the stride in the 3x3 convolution and a plain mean over the last map.

I pictures, S pixels a side, X Y sides of a map, P cells of the last map, D its channels.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pairloom.blocks.resnet import GROWTH, Bottleneck
from pairloom.checkpoints.layout import Place, rename
from pairloom.errors import Mistake
from pairloom.towers.preparation import FILTERS, IMAGENET, Preparation
from pairloom.towers.pretrained import PretrainedNetwork, WeightFile, fill, renamed

CLAIM = "ResNet 18, 34, 50, 101 and 152"
MODEL_TYPES = ("resnet",)
# name -> blocks of each stage, whether they are bottlenecks
KNOWN = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
    "resnet152": ((3, 8, 36, 3), True),
}
CLASSIFIER = "fc.", "classifier."
KIND = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
# ours -> torchvision's names, which timm shares
RULES = [
    (r"stem\.0\.weight", "conv1.weight"),
    (rf"stem\.1\.{KIND}", r"bn1.\1"),
    *((rf"stages\.{at}\.(\d+)\.conv_(\d)\.weight", rf"layer{at + 1}.\1.conv\2.weight") for at in range(4)),
    *((rf"stages\.{at}\.(\d+)\.norm_(\d)\.{KIND}", rf"layer{at + 1}.\1.bn\2.\3") for at in range(4)),
    *(
        (rf"stages\.{at}\.(\d+)\.shortcut\.(\d)\.{KIND}", rf"layer{at + 1}.\1.downsample.\2.\3")
        for at in range(4)
    ),
]
# transformers' -> torchvision's names
TRANSFORMERS = [
    (r"embedder\.embedder\.convolution\.weight", "conv1.weight"),
    (rf"embedder\.embedder\.normalization\.{KIND}", r"bn1.\1"),
    *(
        (rf"encoder\.stages\.{at}\.layers\.(\d+)\.{theirs}", rf"layer{at + 1}.\1.{torchvision}")
        for at in range(4)
        for theirs, torchvision in (
            (r"shortcut\.convolution\.weight", "downsample.0.weight"),
            (rf"shortcut\.normalization\.{KIND}", r"downsample.1.\2"),
            *((rf"layer\.{place}\.convolution\.weight", f"conv{place + 1}.weight") for place in range(3)),
            *((rf"layer\.{place}\.normalization\.{KIND}", rf"bn{place + 1}.\2") for place in range(3)),
        )
    ),
]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, the stride in the first."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv_1, self.norm_1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
        self.conv_2, self.norm_2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        self.shortcut = (
            nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
            if stride > 1 or before != after
            else nn.Identity()
        )

    def forward(self, x: Float[Tensor, "I _ X Y"]) -> Float[Tensor, "I _ _ _"]:
        y = F.relu(self.norm_1(self.conv_1(x)), inplace=True)
        return F.relu(self.norm_2(self.conv_2(y)) + self.shortcut(x), inplace=True)


class ResNet(nn.Module):
    """[I 3 S S] -> cells [I P D] of the last map, and their mean [I D]. stem: its channels; width: of the first stage inside."""

    def __init__(self, depths: Sequence[int], stem: int, width: int, bottlenecks: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, stem, 7, 2, 3, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        self.stages = nn.ModuleList()
        before = stem
        for at, depth in enumerate(depths):
            blocks: list[nn.Module] = []
            for block in range(depth):
                inside, stride = width << at, 2 if at and not block else 1
                after = inside * GROWTH if bottlenecks else inside
                blocks.append(
                    Bottleneck(before, inside, stride, averages=False)
                    if bottlenecks
                    else BasicBlock(before, after, stride)
                )
                before = after
            self.stages.append(nn.Sequential(*blocks))

    def forward(
        self, images: Float[Tensor, "I 3 S S"]
    ) -> tuple[Float[Tensor, "I P D"], Float[Tensor, "I D"]]:
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
        cells = x.flatten(2).transpose(1, 2)
        return cells, cells.mean(1)


def sniff(names: Collection[str]) -> bool:
    """Whether the names of a file's tensors are ResNet's in one of its layouts."""
    return "layer4.0.conv1.weight" in names or "embedder.embedder.convolution.weight" in names


def build(weights: WeightFile) -> PretrainedNetwork:
    """The network of a file, with its weights. Mistake where they are another variant of it."""
    theirs = renamed(weights.tensors, TRANSFORMERS)
    if "conv1.weight" not in theirs or weights.config.get("downsample_in_bottleneck", False):
        raise Mistake(
            f"{weights.where} is a variant of ResNet that is not known here.",
            "Its stem is not one convolution, or its stride is in the first convolution of a block.",
            f"Known: {', '.join(KNOWN)}, as torchvision has them.",
        )
    bottlenecks = "layer1.0.conv3.weight" in theirs
    depths = tuple(
        sum(f"layer{at}.{block}.conv1.weight" in theirs for block in range(64)) for at in (1, 2, 3, 4)
    )
    stem, width = len(theirs["conv1.weight"]), len(theirs["layer1.0.conv1.weight"])
    network = ResNet(depths, stem, width, bottlenecks)
    known = {name: Place((rename(name, RULES),)) for name in network.state_dict()}
    fill(network, theirs, known, weights.where, CLASSIFIER)
    names = [name for name, shape in KNOWN.items() if shape == (depths, bottlenecks)]
    preparation = Preparation(224, *IMAGENET, "crop", 256, FILTERS["bilinear"])
    return PretrainedNetwork(
        (names or ["resnet"])[0], network, preparation, (width << 3) * (GROWTH if bottlenecks else 1)
    )
