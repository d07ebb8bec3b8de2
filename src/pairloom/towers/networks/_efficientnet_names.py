"""How the published layouts name EfficientNet's tensors: Google's ports, timm, torchvision, transformers.

I pictures.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from pairloom.checkpoints.layout import Place

# layout -> a tensor that it alone has
MARKS = {
    "google": "_conv_stem.weight",
    "timm": "conv_stem.weight",
    "torchvision": "features.1.0.block.0.0.weight",
    "transformers": "encoder.blocks.0.depthwise_conv.depthwise_conv.weight",
}
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
# layout -> (convolution, batch norm) of the stem and of the head
ENDS = {
    "google": (("_conv_stem", "_bn0"), ("_conv_head", "_bn1")),
    "timm": (("conv_stem", "bn1"), ("conv_head", "bn2")),
    "torchvision": (("features.0.0", "features.0.1"), ("features.8.0", "features.8.1")),
    "transformers": (
        ("embeddings.convolution", "embeddings.batchnorm"),
        ("encoder.top_conv", "encoder.top_bn"),
    ),
}
# layout -> (convolution, batch norm) of expand, depthwise and project, and both convolutions of squeeze-and-excitation
PARTS = {
    "google": (
        ("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"), ("_se_reduce", "_se_expand")
    ),
    "timm": (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3"), ("se.conv_reduce", "se.conv_expand")),
    "transformers": (
        ("expansion.expand_conv", "expansion.expand_bn"),
        ("depthwise_conv.depthwise_conv", "depthwise_conv.depthwise_norm"),
        ("projection.project_conv", "projection.project_bn"),
        ("squeeze_excite.reduce", "squeeze_excite.expand"),
    ),
    "torchvision": (("0.0", "0.1"), ("1.0", "1.1"), ("3.0", "3.1"), ("2.fc1", "2.fc2")),
}  # fmt: skip
# the same for blocks that do not widen
FIRST_PARTS = {
    **PARTS,
    "timm": (("", ""), ("conv_dw", "bn1"), ("conv_pw", "bn2"), PARTS["timm"][3]),
    "torchvision": (("", ""), ("0.0", "0.1"), ("2.0", "2.1"), ("1.fc1", "1.fc2")),
}


def layout_of(names: Collection[str]) -> str | None:
    """The layout of a file, by the names of its tensors; None where they are not EfficientNet's."""
    return next((layout for layout, mark in MARKS.items() if mark in names), None)


def places(layout: str, stage_of: Sequence[tuple[int, int]], ours: Collection[str]) -> dict[str, Place]:
    """The place of every tensor of ours in a layout. stage_of: stage and place in it of each block."""
    table = dict(_units("stem", *ENDS[layout][0])) | dict(_units("head", *ENDS[layout][1]))
    for block, (stage, repeat) in enumerate(stage_of):
        there = {
            "google": f"_blocks.{block}.",
            "timm": f"blocks.{stage}.{repeat}.",
            "torchvision": f"features.{stage + 1}.{repeat}.block.",
            "transformers": f"encoder.blocks.{block}.",
        }[layout]
        widens = f"blocks.{block}.expand.conv.weight" in ours
        *units, squeeze = (PARTS if widens else FIRST_PARTS)[layout]
        for part, (conv, norm) in zip(("expand", "depthwise", "project"), units):
            table |= dict(_units(f"blocks.{block}.{part}", there + conv, there + norm))
        for part, conv in zip(("down", "up"), squeeze):
            for kind in ("weight", "bias"):
                table[f"blocks.{block}.squeeze.{part}.{kind}"] = f"{there}{conv}.{kind}"
    return {name: Place((table[name],)) for name in ours}


def _units(here: str, conv: str, norm: str) -> Iterator[tuple[str, str]]:
    """Our names and theirs of one convolution with its batch norm."""
    yield f"{here}.conv.weight", f"{conv}.weight"
    for kind in NORM:
        yield f"{here}.norm.{kind}", f"{norm}.{kind}"
