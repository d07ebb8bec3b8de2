"""ViT (Dosovitskiy et al., 2021), DeiT (Touvron et al., 2021), DINOv2 (Oquab et al., 2023), with or without registers.

Layer scale is folded into the linear maps, and the position of the class row into that row. The layouts of timm (which the
authors of DeiT and DINOv2 share), torchvision and transformers are renamed to timm's.

I pictures, S pixels a side, P patches, K rows before them (class, distillation, registers), D width.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pairloom.blocks.positions import resize_positions
from pairloom.blocks.transformer import Stack, TransformerConfig
from pairloom.checkpoints.layout import Place, rename
from pairloom.errors import Mistake
from pairloom.towers.layer_scale import fold_layer_scale
from pairloom.towers.preparation import FILTERS, HALVES, IMAGENET, Preparation
from pairloom.towers.pretrained import PretrainedNetwork, WeightFile, fill, renamed

CLAIM = "ViT, DeiT and DINOv2"
MODEL_TYPES = ("vit", "deit", "dinov2", "dinov2_with_registers")
SIZES = {192: "tiny", 384: "small", 768: "base", 1024: "large", 1280: "huge", 1408: "giant", 1664: "gigantic"}
WIDE_HEADS = (1280, 1408, 1664)  # widths with 16 heads; all others have heads of 64
CLASSIFIER = (
    "head.",
    "head_dist.",
    "classifier.",
    "cls_classifier.",
    "distillation_classifier.",
    "pooler.",
    "mask_token",
)
KIND = r"(weight|bias)"
LAYER = r"encoder\.layer\.(\d+)\."
# transformers' -> timm's names
TRANSFORMERS = [
    (r"embeddings\.(cls|mask)_token", r"\1_token"),
    (r"embeddings\.distillation_token", "dist_token"),
    (r"embeddings\.register_tokens", "reg_token"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (rf"embeddings\.patch_embeddings\.projection\.{KIND}", r"patch_embed.proj.\1"),
    (rf"layernorm\.{KIND}", r"norm.\1"),
    (rf"{LAYER}(?:layernorm_before|norm1)\.{KIND}", r"blocks.\1.norm1.\2"),
    (rf"{LAYER}(?:layernorm_after|norm2)\.{KIND}", r"blocks.\1.norm2.\2"),
    (rf"{LAYER}attention\.attention\.(query|key|value)\.{KIND}", r"blocks.\1.attn.\2.\3"),
    (rf"{LAYER}attention\.output\.dense\.{KIND}", r"blocks.\1.attn.proj.\2"),
    (rf"{LAYER}(?:intermediate\.dense|mlp\.fc1)\.{KIND}", r"blocks.\1.mlp.fc1.\2"),
    (rf"{LAYER}(?:output\.dense|mlp\.fc2)\.{KIND}", r"blocks.\1.mlp.fc2.\2"),
    (rf"{LAYER}layer_scale([12])\.lambda1", r"blocks.\1.ls\2.gamma"),
]
BLOCK = r"encoder\.layers\.encoder_layer_(\d+)\."
TORCHVISION = [
    (r"class_token", "cls_token"),
    (r"encoder\.pos_embedding", "pos_embed"),
    (rf"conv_proj\.{KIND}", r"patch_embed.proj.\1"),
    (rf"encoder\.ln\.{KIND}", r"norm.\1"),
    (r"heads\.(.*)", r"head.\1"),
    (rf"{BLOCK}ln_([12])\.{KIND}", r"blocks.\1.norm\2.\3"),
    (rf"{BLOCK}self_attention\.in_proj_{KIND}", r"blocks.\1.attn.qkv.\2"),
    (rf"{BLOCK}self_attention\.out_proj\.{KIND}", r"blocks.\1.attn.proj.\2"),
    (rf"{BLOCK}mlp\.(?:0|linear_1)\.{KIND}", r"blocks.\1.mlp.fc1.\2"),
    (rf"{BLOCK}mlp\.(?:3|linear_2)\.{KIND}", r"blocks.\1.mlp.fc2.\2"),
]
OURS = r"stack\.layers\.(\d+)\."
# ours -> timm's names
RULES = [
    (rf"patch\.{KIND}", r"patch_embed.proj.\1"),
    (rf"norm\.{KIND}", r"norm.\1"),
    (rf"mean_norm\.{KIND}", r"fc_norm.\1"),
    (rf"{OURS}attend\.0\.norm\.{KIND}", r"blocks.\1.norm1.\2"),
    (rf"{OURS}feed\.0\.norm\.{KIND}", r"blocks.\1.norm2.\2"),
    (rf"{OURS}attend\.0\.fn\.(query|key|value)\.{KIND}", r"blocks.\1.attn.\2.\3"),
    (rf"{OURS}attend\.0\.fn\.out\.{KIND}", r"blocks.\1.attn.proj.\2"),
    (rf"{OURS}feed\.0\.fn\.up\.{KIND}", r"blocks.\1.mlp.fc1.\2"),
    (rf"{OURS}feed\.0\.fn\.down\.{KIND}", r"blocks.\1.mlp.fc2.\2"),
    (r"(prefix|positions)", r"\1"),
]


class VisionTransformer(nn.Module):
    """[I 3 S S] -> patches [I P D] after the last norm, and the class row [I D], or the mean of the patches.

    rows: K. grid: patches a side. norm, mean_norm: whether there is a norm after the stack, and of the mean. mean: pool the
    patches.
    """

    def __init__(
        self,
        config: TransformerConfig,
        patch: int,
        grid: int,
        rows: int,
        norm: bool,
        mean: bool,
        mean_norm: bool,
    ) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, config.width, patch, patch)
        self.prefix = nn.Parameter(torch.zeros(1, rows, config.width))
        self.positions = nn.Parameter(torch.zeros(1, grid * grid, config.width))
        self.stack = Stack(config)
        self.norm = nn.LayerNorm(config.width, config.eps) if norm else nn.Identity()
        self.mean_norm = nn.LayerNorm(config.width, config.eps) if mean_norm else nn.Identity()
        self.mean = mean

    def forward(
        self, images: Float[Tensor, "I 3 S S"]
    ) -> tuple[Float[Tensor, "I P D"], Float[Tensor, "I D"]]:
        x = self.patch(images).flatten(2).transpose(1, 2) + self.positions
        x = self.norm(self.stack(torch.cat([self.prefix.expand(len(x), -1, -1), x], 1)))
        cells = x[:, self.prefix.shape[1] :]
        return cells, self.mean_norm(cells.mean(1) if self.mean else x[:, 0])


def sniff(names: Collection[str]) -> bool:
    """Whether the names of a file's tensors are a vision transformer's in one of its layouts."""
    marks = ("blocks.0.attn.qkv.weight", "conv_proj.weight", "embeddings.patch_embeddings.projection.weight")
    return any(mark in names for mark in marks)


def build(weights: WeightFile) -> PretrainedNetwork:
    """The network of a file, with its weights. Mistake where they are another variant of it."""
    theirs = renamed(weights.tensors, TORCHVISION if "conv_proj.weight" in weights.tensors else TRANSFORMERS)
    if "pos_embed" not in theirs or "patch_embed.proj.weight" not in theirs:
        raise _variant(weights, "It has no table of positions, or its patches are no convolution.")
    scaled = "blocks.0.ls1.gamma" in theirs
    theirs = _folded(theirs)
    network = _network(theirs, weights)
    known = {name: Place((rename(name, RULES),)) for name in network.state_dict()}
    fill(network, theirs, known, weights.where, CLASSIFIER)
    patch, width = network.patch.kernel_size[0], network.patch.out_channels
    registers = "reg_token" in weights.tensors or "register_tokens" in " ".join(weights.tensors)
    self_taught = scaled and patch == 14
    name, stated = _name(width, patch, self_taught, registers)
    preparation = _preparation(weights, network, self_taught)

    def resize(size: int) -> None:
        if size % patch:
            raise _variant(
                weights, f"Pictures of {size} pixels a side are no whole number of patches of {patch}."
            )
        network.positions = nn.Parameter(
            resize_positions(network.positions.data, (size // patch) ** 2, registers)
        )

    return PretrainedNetwork(name, network, preparation, width, stated, resize)


def _folded(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """timm's tensors as ours are: the rows before the patches with their positions, fused projections apart, no scales."""
    tensors = fold_layer_scale(theirs, r"(blocks\.\d+)\.ls1\.gamma", r"\1.attn.proj")
    tensors = fold_layer_scale(tensors, r"(blocks\.\d+)\.ls2\.gamma", r"\1.mlp.fc2")
    positions = tensors.pop("pos_embed")
    first = positions.shape[1] - math.isqrt(positions.shape[1]) ** 2
    tokens = [tensors.pop(name) for name in ("cls_token", "dist_token") if name in tensors]
    rows = torch.cat(tokens, 1) if tokens else positions[:, :0]
    if first and first != len(tokens):
        raise ValueError(f"{first} positions for {len(tokens)} rows before the patches")
    if first:  # of the class and distillation rows
        rows = rows + positions[:, :first]
    registers = [tensors.pop(name) for name in ("reg_token", "register_tokens") if name in tensors]
    tensors["prefix"] = torch.cat([rows, *registers], 1)
    tensors["positions"] = positions[:, first:]
    for name in [name for name in tensors if ".attn.qkv." in name]:
        for part, piece in zip(("query", "key", "value"), tensors.pop(name).chunk(3)):
            tensors[name.replace("qkv", part)] = piece
    return tensors


def _network(theirs: Mapping[str, Tensor], weights: WeightFile) -> VisionTransformer:
    """The network whose sizes are those of the tensors, and what only a config says."""
    config = weights.config
    if config.get("hidden_act", "gelu") != "gelu":
        raise _variant(weights, f"Its activation is '{config['hidden_act']}'.")
    width, _, patch, _ = theirs["patch_embed.proj.weight"].shape
    depth = len({name.split(".")[1] for name in theirs if name.startswith("blocks.")})
    hidden = theirs["blocks.0.mlp.fc1.weight"].shape[0] if "blocks.0.mlp.fc1.weight" in theirs else 4 * width
    heads = int(config.get("num_attention_heads") or (16 if width in WIDE_HEADS else max(1, width // 64)))
    shape = TransformerConfig(
        width, depth, heads, "pre", float(config.get("layer_norm_eps", 1e-6)), growth=hidden / width
    )
    mean_norm = "fc_norm.weight" in theirs
    mean = mean_norm or config.get("global_pool") == "avg" or not theirs["prefix"].shape[1]
    grid = math.isqrt(theirs["positions"].shape[1])
    return VisionTransformer(
        shape,
        patch,
        grid,
        theirs["prefix"].shape[1],
        "norm.weight" in theirs or not mean_norm,
        mean,
        mean_norm,
    )


def _name(width: int, patch: int, self_taught: bool, registers: bool) -> tuple[str, str]:
    """The name of an architecture, and the pattern of timm's names for it."""
    size = SIZES.get(width, "")
    if self_taught:
        return "-".join(filter(None, ("dinov2", size, "registers" * registers))), rf"vit_{size}_patch{patch}"
    return "-".join(
        filter(None, ("vit", size, f"patch{patch}"))
    ), rf"(vit|deit3?)_{size}(_distilled)?_patch{patch}"


def _preparation(weights: WeightFile, network: VisionTransformer, self_taught: bool) -> Preparation:
    """The family's own preparation of pictures."""
    size = math.isqrt(network.positions.shape[1]) * network.patch.kernel_size[0]
    of_torchvision = "conv_proj.weight" in weights.tensors
    if self_taught:  # trained at 518 and read at 224, where positions are interpolated
        return Preparation(224, *IMAGENET, "crop", 256)
    if of_torchvision or weights.stated.startswith("deit") or network.prefix.shape[1] > 1:
        return Preparation(
            size,
            *IMAGENET,
            "crop",
            round(size * 256 / 224),
            FILTERS["bilinear" if of_torchvision else "bicubic"],
        )
    return Preparation(size, *HALVES, "crop", math.floor(size / 0.9))


def _variant(weights: WeightFile, why: str) -> Mistake:
    return Mistake(
        f"{weights.where} is a variant of the vision transformer that is not known here.",
        why,
        f"Known: {CLAIM}.",
    )
