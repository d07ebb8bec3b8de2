"""Published convolutional networks as the initialisation of a captioner's encoder: torchvision's names, which timm shares.

Facts: torchvision's `.pth` files and timm's folders (config.json, model.safetensors) have the same names for VGG, ResNet,
GoogLeNet and Inception v3; classifiers and auxiliary heads are not read, nor the fully connected layers of a VGG without
"-fc7" (timm stores those as convolutions, and so do we). Pictures are normalised by ImageNet's mean and standard deviation,
for the two Inception networks by .5 and .5 (torchvision's own `transform_input` amounts to the same); a timm config has its
own numbers. Nothing is unpickled, torchvision is not imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pairloom.blocks.encoder import FC7, RESNET, VGG
from pairloom.blocks.inception import Unit
from pairloom.checkpoints.layout import Place, read, rename, take
from pairloom.checkpoints.settings import JsonSettings
from pairloom.errors import Mistake
from pairloom.model import Model

PART = "encoder"  # of a model, that `--init encoder=FILE` fills
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALVES = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
DROPPED = ("fc.", "classifier.", "head.", "pre_logits.", "AuxLogits.", "aux1.", "aux2.")
KIND = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
RESNET_RULES = [
    (r"0\.0\.weight", "conv1.weight"),
    (rf"0\.1\.{KIND}", r"bn1.\1"),
    (r"(\d)\.(\d+)\.conv_(\d)\.weight", r"layer\1.\2.conv\3.weight"),
    (rf"(\d)\.(\d+)\.norm_(\d)\.{KIND}", r"layer\1.\2.bn\3.\4"),
    (rf"(\d)\.(\d+)\.shortcut\.(\d)\.{KIND}", r"layer\1.\2.downsample.\3.\4"),
]
# the convolutions of each kind of layer, in the order of the tables in blocks/inception.py
FIVE = "branch1x1 branch5x5_1 branch5x5_2 branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3 branch_pool".split()
TO_17 = "branch3x3 branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3".split()
SEVEN = ["branch1x1", *(f"branch7x7_{at}" for at in (1, 2, 3))]
SEVEN += [*(f"branch7x7dbl_{at}" for at in (1, 2, 3, 4, 5)), "branch_pool"]
TO_8 = "branch3x3_1 branch3x3_2 branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 branch7x7x3_4".split()
WIDE = "branch1x1 branch3x3_1 branch3x3_2a branch3x3_2b branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3a".split()
WIDE += ["branch3x3dbl_3b", "branch_pool"]
MIXED = {
    **{f"Mixed_5{letter}": FIVE for letter in "bcd"},
    "Mixed_6a": TO_17,
    **{f"Mixed_6{letter}": SEVEN for letter in "bcde"},
    "Mixed_7a": TO_8,
    **{f"Mixed_7{letter}": WIDE for letter in "bc"},
}
SCALES = "branch1 branch2.0 branch2.1 branch3.0 branch3.1 branch4.1".split()
UNITS = {
    "inception_v3": [f"Conv2d_{name}" for name in "1a_3x3 2a_3x3 2b_3x3 3b_1x1 4a_3x3".split()]
    + [f"{layer}.{name}" for layer, names in MIXED.items() for name in names],
    "googlenet": ["conv1", "conv2", "conv3"]
    + [f"inception{layer}.{name}" for layer in "3a 3b 4a 4b 4c 4d 4e 5a 5b".split() for name in SCALES],
}


def start(model: Model, where: Path) -> Model:
    """Put a published encoder into a new model, and prepare its pictures as in the encoder's training.

    Mistake where the file holds another network than the model's config names, or an incomplete one.
    """
    config, encoder = model.config, getattr(model.system, "encoder", None)
    name = getattr(config, "encoder", "")
    plain = name.removesuffix(FC7)
    if encoder is None or plain not in (*VGG, *RESNET, *UNITS):
        raise Mistake(
            f"{model.name} has no encoder that published weights fit.",
            f"Its encoder is '{name}'." if name else "",
            "Take a captioner with a published one: model.encoder=resnet50.",
        )
    theirs = read(where)
    network = network_of(theirs)
    if network != plain:
        raise Mistake(
            f"{where} is not a {plain}.",
            f"It is a {network}."
            if network
            else "Its tensors are none of VGG, ResNet, GoogLeNet or Inception v3.",
            f"Set model.encoder={network}." if network else "Give torchvision's file or timm's folder.",
        )
    ours, known = encoder.network.state_dict(), dict(places(name, encoder.network))
    wanted = {key for place in known.values() for key in place.names}
    theirs = {key: tensor for key, tensor in theirs.items() if key in wanted or not key.startswith(DROPPED)}
    for key, side in (("classifier.0.weight", 7), ("classifier.3.weight", 1)):
        if key in wanted and key in theirs:
            theirs[key] = theirs[key].unflatten(1, (-1, side, side))
    moved = take(theirs, known, ours)
    moved.missing = [one for one in moved.missing if not one.endswith("num_batches_tracked")]  # old files
    moved.whole(where).into(encoder.network)
    return replace(model, feed=_pixels(model, where, name), about={**model.about, "encoder": where.name})


def network_of(tensors: Mapping[str, Tensor]) -> str:
    """The network of a file by the names of its tensors; "" where it is none of these."""
    if "Mixed_7c.branch_pool.conv.weight" in tensors:
        return "inception_v3"
    if "inception5b.branch1.conv.weight" in tensors:
        return "googlenet"
    if "conv1.weight" in tensors and "layer4.0.conv3.weight" in tensors:
        counts = [
            sum(f"layer{at}.{block}.conv1.weight" in tensors for block in range(64)) for at in (1, 2, 3, 4)
        ]
        return next((name for name, blocks in RESNET.items() if list(blocks) == counts), "")
    shapes = {
        key: tensor.ndim for key, tensor in tensors.items() if re.fullmatch(r"features\.\d+\.weight", key)
    }
    if shapes and set(shapes.values()) == {4}:  # with batch norms there would be vectors too
        return next((name for name, groups in VGG.items() if sum(groups) == len(shapes)), "")
    return ""


def places(name: str, network: nn.Module) -> Iterator[tuple[str, Place]]:
    """The places of an encoder's tensors in the file."""
    if name in UNITS:
        units = [key for key, part in network.named_modules() if isinstance(part, Unit)]
        for key, there in zip(units, UNITS[name], strict=True):
            for ours, theirs in (("conv", "conv"), ("norm", "bn")):
                for kind in getattr(network.get_submodule(key), ours).state_dict():
                    yield f"{key}.{ours}.{kind}", Place((f"{there}.{theirs}.{kind}",))
        return
    keys = list(network.state_dict())
    linear = keys[-4:] if name.endswith(FC7) else []
    for key in keys:
        if key in linear:
            at, kind = linear.index(key) // 2, key.rpartition(".")[2]
            yield key, Place((f"classifier.{3 * at}.{kind}", f"pre_logits.fc{at + 1}.{kind}"))
        else:
            yield key, Place((rename(key, RESNET_RULES) if name in RESNET else f"features.{key}",))


def _pixels(model: Model, where: Path, name: str) -> Any:
    """The preparation of pictures: from timm's config, or the usual one for torchvision's files, which do not name theirs."""
    settings = JsonSettings.read(where / "config.json").inner("pretrained_cfg")
    mean, std = HALVES if name in UNITS else IMAGENET
    return replace(model.pixels, mean=settings.numbers("mean", mean, 3), std=settings.numbers("std", std, 3))
