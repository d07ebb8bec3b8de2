"""ConvNeXt (Liu et al., 2022), tiny to extra large: depthwise 7x7 convolutions and feed-forward parts, with layer norms.

Layer scale is folded into the linear map before it. The layouts of timm, of the authors, of torchvision and of transformers
are renamed to timm's.

Does not know: the network itself (blocks/convnext.py).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from torch import Tensor

from pairloom.blocks.convnext import ConvNeXt
from pairloom.checkpoints.layout import Place, rename
from pairloom.towers.layer_scale import fold_layer_scale
from pairloom.towers.preparation import FILTERS, IMAGENET, Preparation
from pairloom.towers.pretrained import PretrainedNetwork, WeightFile, fill, renamed

CLAIM = "ConvNeXt tiny, small, base, large and xlarge"
MODEL_TYPES = ("convnext",)
EPS = 1e-6
# name -> blocks of each stage, channels of the first
KNOWN = {
    "convnext-tiny": ((3, 3, 9, 3), 96),
    "convnext-small": ((3, 3, 27, 3), 96),
    "convnext-base": ((3, 3, 27, 3), 128),
    "convnext-large": ((3, 3, 27, 3), 192),
    "convnext-xlarge": ((3, 3, 27, 3), 256),
}
# sides of the resized picture in torchvision's evaluation, by 224 pixels
TORCHVISION = {"convnext-tiny": 236, "convnext-small": 230, "convnext-base": 232, "convnext-large": 232}
CLASSIFIER = "head.", "classifier."
KIND = r"(weight|bias)"
# layout -> (a tensor that it alone has, theirs -> timm's names)
LAYOUTS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "timm": ("stages.0.blocks.0.conv_dw.weight", []),
    "authors": (
        "downsample_layers.0.0.weight",
        [
            (rf"downsample_layers\.0\.([01])\.{KIND}", r"stem.\1.\2"),
            (rf"downsample_layers\.(\d)\.([01])\.{KIND}", r"stages.\1.downsample.\2.\3"),
            (rf"stages\.(\d)\.(\d+)\.dwconv\.{KIND}", r"stages.\1.blocks.\2.conv_dw.\3"),
            (rf"stages\.(\d)\.(\d+)\.norm\.{KIND}", r"stages.\1.blocks.\2.norm.\3"),
            (rf"stages\.(\d)\.(\d+)\.pwconv([12])\.{KIND}", r"stages.\1.blocks.\2.mlp.fc\3.\4"),
            (r"stages\.(\d)\.(\d+)\.gamma", r"stages.\1.blocks.\2.gamma"),
            (rf"norm\.{KIND}", r"head.norm.\1"),
        ],
    ),
    "transformers": (
        "embeddings.layernorm.weight",
        [
            (rf"embeddings\.patch_embeddings\.{KIND}", r"stem.0.\1"),
            (rf"embeddings\.layernorm\.{KIND}", r"stem.1.\1"),
            (rf"encoder\.stages\.(\d)\.downsampling_layer\.([01])\.{KIND}", r"stages.\1.downsample.\2.\3"),
            (rf"encoder\.stages\.(\d)\.layers\.(\d+)\.dwconv\.{KIND}", r"stages.\1.blocks.\2.conv_dw.\3"),
            (rf"encoder\.stages\.(\d)\.layers\.(\d+)\.layernorm\.{KIND}", r"stages.\1.blocks.\2.norm.\3"),
            (rf"encoder\.stages\.(\d)\.layers\.(\d+)\.pwconv([12])\.{KIND}", r"stages.\1.blocks.\2.mlp.fc\3.\4"),
            (r"encoder\.stages\.(\d)\.layers\.(\d+)\.layer_scale_parameter", r"stages.\1.blocks.\2.gamma"),
            (rf"layernorm\.{KIND}", r"head.norm.\1"),
        ],
    ),
}  # fmt: skip


def sniff(names: Collection[str]) -> bool:
    """Whether the names of a file's tensors are ConvNeXt's in one of its layouts."""
    return _layout(names) is not None


def build(weights: WeightFile) -> PretrainedNetwork:
    """The network of a file, with its weights. Mistake where they are another variant of it."""
    layout = _layout(weights.tensors) or ""
    theirs = _to_timm(weights.tensors, layout)
    theirs = fold_layer_scale(theirs, r"(stages\.\d+\.blocks\.\d+)\.gamma", r"\1.mlp.fc2")
    depths, widths = _shape(theirs)
    network = ConvNeXt(depths, widths, EPS, float(weights.config.get("layer_norm_eps", EPS)))
    known = {name: Place((rename(name, RULES),)) for name in network.state_dict()}
    fill(network, theirs, known, weights.where, CLASSIFIER)
    names = [name for name, shape in KNOWN.items() if shape == (depths, widths[0])]
    name = (names or ["convnext"])[0]
    resize, filter_name = (
        (TORCHVISION.get(name, 236), "bilinear") if layout == "torchvision" else (256, "bicubic")
    )
    preparation = Preparation(224, *IMAGENET, "crop", resize, FILTERS[filter_name])
    return PretrainedNetwork(name, network, preparation, widths[-1])


RULES = [
    (rf"stem\.([01])\.{KIND}", r"stem.\1.\2"),
    (rf"norm\.{KIND}", r"head.norm.\1"),
    (rf"stages\.(\d)\.(\d+)\.depthwise\.{KIND}", r"stages.\1.blocks.\2.conv_dw.\3"),
    (rf"stages\.(\d)\.(\d+)\.norm\.{KIND}", r"stages.\1.blocks.\2.norm.\3"),
    (rf"stages\.(\d)\.(\d+)\.feed\.up\.{KIND}", r"stages.\1.blocks.\2.mlp.fc1.\3"),
    (rf"stages\.(\d)\.(\d+)\.feed\.down\.{KIND}", r"stages.\1.blocks.\2.mlp.fc2.\3"),
    *((rf"halvings\.{at}\.([01])\.{KIND}", rf"stages.{at + 1}.downsample.\1.\2") for at in range(3)),
]


def _layout(names: Collection[str]) -> str | None:
    if {"features.1.0.layer_scale", "features.0.1.weight"} <= set(names):
        return "torchvision"
    return next((layout for layout, (mark, _) in LAYOUTS.items() if mark in names), None)


def _to_timm(tensors: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    """The tensors under timm's names; those that no rule renames keep theirs."""
    if layout == "torchvision":
        return {_from_torchvision(name): tensor.flatten() if name.endswith("layer_scale") else tensor
                for name, tensor in tensors.items()}  # fmt: skip
    return renamed(tensors, LAYOUTS[layout][1])


def _from_torchvision(name: str) -> str:
    """timm's name of a torchvision tensor, where the even features are halvings and the odd ones stages."""
    name = re.sub(r"^features\.0\.", "stem.", name)
    name = re.sub(r"^classifier\.0\.", "head.norm.", name)
    match = re.fullmatch(r"features\.(\d)\.(\d+)\.(.*)", name)
    if match is None:
        return name
    at, number, rest = int(match[1]), match[2], match[3]
    if at % 2 == 0:
        return f"stages.{at // 2}.downsample.{number}.{rest}"
    for theirs, timm in (
        ("block.0", "conv_dw"),
        ("block.2", "norm"),
        ("block.3", "mlp.fc1"),
        ("block.5", "mlp.fc2"),
    ):
        rest = rest.replace(theirs, timm)
    return f"stages.{at // 2}.blocks.{number}.{rest.replace('layer_scale', 'gamma')}"


def _shape(tensors: Mapping[str, Tensor]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Blocks and channels of each stage, by timm's names."""
    stages: dict[int, list[int]] = {}
    for name, tensor in tensors.items():
        if match := re.fullmatch(r"stages\.(\d+)\.blocks\.\d+\.conv_dw\.weight", name):
            stages.setdefault(int(match[1]), []).append(len(tensor))
    return tuple(len(stages[at]) for at in sorted(stages)), tuple(stages[at][0] for at in sorted(stages))
