"""Names of tensors in published layouts, written down beside the released files and classes: what the loaders must know.

A line is one tensor, or several: S and B stand for the numbers of a stage and of a block in it, N for that of a block in the
network, E and O for twice the stage's number and one more; * stands for weight and bias, % for what a batch norm has.
"""

import hashlib
from collections.abc import Iterable, Sequence

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
VIT = {
    "timm": """cls_token
pos_embed
patch_embed.proj.*
norm.*
blocks.N.norm1.*
blocks.N.norm2.*
blocks.N.attn.qkv.*
blocks.N.attn.proj.*
blocks.N.mlp.fc1.*
blocks.N.mlp.fc2.*""",
    "torchvision": """class_token
encoder.pos_embedding
conv_proj.*
encoder.ln.*
encoder.layers.encoder_layer_N.ln_1.*
encoder.layers.encoder_layer_N.ln_2.*
encoder.layers.encoder_layer_N.self_attention.in_proj_*
encoder.layers.encoder_layer_N.self_attention.out_proj.*
encoder.layers.encoder_layer_N.mlp.0.*
encoder.layers.encoder_layer_N.mlp.3.*""",
    "transformers": """embeddings.cls_token
embeddings.position_embeddings
embeddings.patch_embeddings.projection.*
layernorm.*
encoder.layer.N.layernorm_before.*
encoder.layer.N.layernorm_after.*
encoder.layer.N.attention.attention.qkv.*
encoder.layer.N.attention.output.dense.*
encoder.layer.N.intermediate.dense.*
encoder.layer.N.output.dense.*""",
}
DINOV2 = {
    "timm": VIT["timm"] + "\nblocks.N.ls1.gamma\nblocks.N.ls2.gamma",
    "transformers": VIT["transformers"]
    .replace("layernorm_before", "norm1")
    .replace("layernorm_after", "norm2")
    .replace("intermediate.dense", "mlp.fc1")
    .replace("N.output.dense", "N.mlp.fc2")
    + "\nencoder.layer.N.layer_scale1.lambda1\nencoder.layer.N.layer_scale2.lambda1",
}
CONVNEXT = {  # the lines of stage and block first, then those of a stage from the second on, then the rest
    "timm": """stages.S.blocks.B.conv_dw.*
stages.S.blocks.B.norm.*
stages.S.blocks.B.mlp.fc1.*
stages.S.blocks.B.mlp.fc2.*
stages.S.blocks.B.gamma
stages.S.downsample.0.*
stages.S.downsample.1.*
stem.0.*
stem.1.*
head.norm.*""",
    "authors": """stages.S.B.dwconv.*
stages.S.B.norm.*
stages.S.B.pwconv1.*
stages.S.B.pwconv2.*
stages.S.B.gamma
downsample_layers.S.0.*
downsample_layers.S.1.*
downsample_layers.0.0.*
downsample_layers.0.1.*
norm.*""",
    "torchvision": """features.O.B.block.0.*
features.O.B.block.2.*
features.O.B.block.3.*
features.O.B.block.5.*
features.O.B.layer_scale
features.E.0.*
features.E.1.*
features.0.0.*
features.0.1.*
classifier.0.*""",
    "transformers": """encoder.stages.S.layers.B.dwconv.*
encoder.stages.S.layers.B.layernorm.*
encoder.stages.S.layers.B.pwconv1.*
encoder.stages.S.layers.B.pwconv2.*
encoder.stages.S.layers.B.layer_scale_parameter
encoder.stages.S.downsampling_layer.0.*
encoder.stages.S.downsampling_layer.1.*
embeddings.patch_embeddings.*
embeddings.layernorm.*
layernorm.*""",
}
# convolution and batch norm of the stem and of the head, of a block's expand, depthwise and project, then its squeeze; for
# blocks that widen, and for those of the first stage, which do not
EFFICIENTNET = {
    "timm": (
        ("conv_stem", "bn1", "conv_head", "bn2"),
        ("blocks.S.B.", "conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3", "se.conv_reduce", "se.conv_expand"),
        ("blocks.S.B.", "", "", "conv_dw", "bn1", "conv_pw", "bn2", "se.conv_reduce", "se.conv_expand"),
    ),
    "torchvision": (
        ("features.0.0", "features.0.1", "features.8.0", "features.8.1"),
        ("features.T.B.block.", "0.0", "0.1", "1.0", "1.1", "3.0", "3.1", "2.fc1", "2.fc2"),
        ("features.T.B.block.", "", "", "0.0", "0.1", "2.0", "2.1", "1.fc1", "1.fc2"),
    ),
    "google": (
        ("_conv_stem", "_bn0", "_conv_head", "_bn1"),
        ("_blocks.N.", "_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2", "_se_reduce", "_se_expand"),
        ("_blocks.N.", "", "", "_depthwise_conv", "_bn1", "_project_conv", "_bn2", "_se_reduce", "_se_expand"),
    ),
    "transformers": (
        ("embeddings.convolution", "embeddings.batchnorm", "encoder.top_conv", "encoder.top_bn"),
        (
            "encoder.blocks.N.", "expansion.expand_conv", "expansion.expand_bn", "depthwise_conv.depthwise_conv",
            "depthwise_conv.depthwise_norm", "projection.project_conv", "projection.project_bn",
            "squeeze_excite.reduce", "squeeze_excite.expand",
        ),
        (
            "encoder.blocks.N.", "", "", "depthwise_conv.depthwise_conv", "depthwise_conv.depthwise_norm",
            "projection.project_conv", "projection.project_bn", "squeeze_excite.reduce", "squeeze_excite.expand",
        ),
    ),
}  # fmt: skip
# what the released classes and files have, without the classifier: count and SHA-256 of the sorted names
FACTS = {
    ("efficientnet-b0", "timm"): (358, "1a9dccb1fc4a7e808300c04ca7c486d17f005796f066383c555dac5ac3125981"),
    ("efficientnet-b0", "torchvision"): (358, "6a7cc1a677e1598907bce212aa49550e637328170ee819dfd29100b03049e023"),
    ("efficientnet-lite0", "timm"): (294, "81f599d62f421746ba651e14ce81646deb7f11797d17447a6a0aadf2dbce5ad5"),
    ("efficientnet-lite0", "google"): (294, "7b6c284f64877dfaea4f421aa2280be1f34c2172d873cc0f7445ed61064743a6"),
    ("convnext-tiny", "timm"): (180, "64552cb3cb1734f21cd475f8163bc1681232575c7720852c411ddeea56a664a2"),
    ("convnext-tiny", "torchvision"): (180, "caacea26339f205a5b0079db545f3e3a55b7d2f242ffe8aaa746c61836a1df45"),
    ("resnet18", "timm"): (120, "ab46e8330b5d54f41e39a2d5f0b08d2be79056093db107cf86daf5dd71c1115e"),
    ("resnet50", "timm"): (318, "399a1207491d79e8a94c9dc2bd373793b2be72b2d456d3f77e2d40675113dddd"),
    ("vit-tiny-patch16", "timm"): (150, "90642ba8810056d8cf9798abed5bad2433f0a7a4eb837efec7a521653d8192f1"),
    ("vit-tiny-patch16", "torchvision"): (150, "4c9ebf7ea0d0811403cccb4d8e737c31fc42c331a1f63996f55a09aeb2916e9b"),
    ("dinov2-small", "timm"): (174, "7c21b80e167299ef0db0b2f7bb8451300a702a86bf2903da48c642842f2a48a6"),
}  # fmt: skip


def digest(names: Iterable[str]) -> tuple[int, str]:
    """The form of FACTS."""
    ordered = sorted(names)
    return len(ordered), hashlib.sha256("\n".join(ordered).encode()).hexdigest()


def transformer_names(template: str, depth: int) -> list[str]:
    """The names of a template of VIT or DINOV2, in an order that all layouts share."""
    return [
        line.replace("N", str(block)).replace("*", kind)
        for line in template.splitlines()
        for block in (range(depth) if "N" in line else range(1))
        for kind in (("weight", "bias") if "*" in line else ("",))
    ]


def convnext_names(template: str, depths: Sequence[int]) -> list[str]:
    """The names of a template of CONVNEXT, in an order that all layouts share."""
    names = []
    for at, line in enumerate(template.splitlines()):
        for stage, depth in enumerate(depths):
            places = [(stage, block) for block in range(depth)] if at < 5 else [(stage, 0)]
            if (5 <= at < 7 and stage == 0) or (at >= 7 and stage):
                continue
            for stage, block in places:
                numbers = {"S": stage, "B": block, "E": 2 * stage, "O": 2 * stage + 1}
                name = "".join(str(numbers.get(part, part)) for part in line)
                names += [name.replace("*", kind) for kind in (("weight", "bias") if "*" in line else ("",))]
    return names


def resnet_names(depths: Sequence[int], convolutions: int, layout: str) -> list[str]:
    """The names of a ResNet whose blocks have so many convolutions."""
    there = layout == "transformers"
    names = [
        ("embedder.embedder.convolution", "embedder.embedder.normalization") if there else ("conv1", "bn1")
    ]
    for stage, depth in enumerate(depths):
        for block in range(depth):
            here = f"encoder.stages.{stage}.layers.{block}." if there else f"layer{stage + 1}.{block}."
            for at in range(convolutions):
                pair = (
                    (f"layer.{at}.convolution", f"layer.{at}.normalization")
                    if there
                    else (f"conv{at + 1}", f"bn{at + 1}")
                )
                names.append((here + pair[0], here + pair[1]))
            if block == 0 and (stage or convolutions == 3):
                pair = (
                    ("shortcut.convolution", "shortcut.normalization")
                    if there
                    else ("downsample.0", "downsample.1")
                )
                names.append((here + pair[0], here + pair[1]))
    return [name for conv, norm in names for name in (f"{conv}.weight", *(f"{norm}.{kind}" for kind in NORM))]


def efficientnet_names(repeats: Sequence[int], layout: str, lite: bool) -> list[str]:
    """The names of an EfficientNet with so many blocks in each stage, in an order that all layouts share."""
    (stem, stem_norm, head, head_norm), wide, plain = EFFICIENTNET[layout]
    pairs, biased, number = [(stem, stem_norm), (head, head_norm)], [], 0
    for stage, repeat in enumerate(repeats):
        for block in range(repeat):
            here, *parts = wide if stage else plain
            numbers = {"S": stage, "T": stage + 1, "B": block, "N": number}
            here = "".join(str(numbers.get(part, part)) for part in here)
            pairs += [(here + conv, here + norm) for conv, norm in zip(parts[0:6:2], parts[1:6:2]) if conv]
            biased += [] if lite else [here + part for part in parts[6:]]
            number += 1
    names = [
        name for conv, norm in pairs for name in (f"{conv}.weight", *(f"{norm}.{kind}" for kind in NORM))
    ]
    return names + [f"{conv}.{kind}" for conv in biased for kind in ("weight", "bias")]
