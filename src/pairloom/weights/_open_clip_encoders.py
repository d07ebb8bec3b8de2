"""Encoders of open_clip's models after CLIP: from the parts of a `model_cfg` to the numbers of ours, and the names of tensors.

Facts: a native ViT always has a class row, even where it pools the patches; SigLIP's towers are timm's, whose query, key and
value are fused; of a timm network without `timm_proj` the classifier is the projection; `open_clip` ignores `image_size` when
it builds a timm network, and the padding of texts is visible to every tower of its own that is not causal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from pairloom.blocks.encoder_configs import (
    ConvNeXtConfig,
    Projection,
    TextEncoderConfig,
    TimmConfig,
    VisionConfig,
    ViTConfig,
)
from pairloom.blocks.feed import Activation
from pairloom.checkpoints.layout import Place, rename
from pairloom.systems.clip import System
from pairloom.towers.layer_scale import fold_layer_scale
from pairloom.towers.networks import convnext
from pairloom.weights.openai_clip import LAYER, clip_place

SIGLIP = r"vit_(base|large|so400m|giantopt)_patch(\d+)_siglip_(\d+)"
# timm's name of a size -> width, depth, heads, width of the feed-forward parts
SIZES = {
    "base": (768, 12, 12, 3072),
    "large": (1024, 24, 16, 4096),
    "so400m": (1152, 27, 16, 4304),
    "giantopt": (1536, 40, 16, 6144),
}
TANH = r"vit_(base_patch32|large_patch16_siglip_512|so400m_patch16|giantopt).*"  # whose GELU is that by tanh
CONVNEXT = {
    **{name.replace("-", "_"): (depths, width, 1e-6) for name, (depths, width) in convnext.KNOWN.items()},
    "convnext_xxlarge": ((3, 4, 30, 3), 384, 1e-5),
}
CLIP_L14 = "vit_large_patch14_clip_224"
PROJECTIONS: dict[Any, Projection] = {
    "linear": "linear",
    "mlp": "mlp",
    "none": "none",
    None: "none",
    "": "none",
}
TRUNK = r"visual\.trunk\."
TIMM_BLOCK = [
    (r"attend\.0\.fn\.(?:query|key|value)\.(.+)", r"attn.qkv.\2"),
    (r"attend\.0\.fn\.out\.(.+)", r"attn.proj.\2"),
    (r"attend\.0\.norm\.(.+)", r"norm1.\2"),
    (r"feed\.0\.norm\.(.+)", r"norm2.\2"),
    (r"feed\.0\.fn\.up\.(.+)", r"mlp.fc1.\2"),
    (r"feed\.0\.fn\.down\.(.+)", r"mlp.fc2.\2"),
]
TIMM = [
    (r"embed\.patch\.(.+)", r"patch_embed.proj.\1"),
    (r"embed\.positions", "pos_embed"),
    (r"embed\.class_row", "cls_token"),
    (r"first_norm\.(.+)", r"norm_pre.\1"),
    (r"norm\.(.+)", r"norm.\1"),
    *((rf"{LAYER}{ours}", rf"blocks.\1.{there}") for ours, there in TIMM_BLOCK),
    (r"pool\.query", "attn_pool.latent"),
    (r"pool\.attend\.query\.(.+)", r"attn_pool.q.\1"),
    (r"pool\.attend\.(?:key|value)\.(.+)", r"attn_pool.kv.\1"),
    (r"pool\.attend\.out\.(.+)", r"attn_pool.proj.\1"),
    (r"pool\.norm\.(.+)", r"attn_pool.norm.\1"),
    (r"pool\.feed\.up\.(.+)", r"attn_pool.mlp.fc1.\1"),
    (r"pool\.feed\.down\.(.+)", r"attn_pool.mlp.fc2.\1"),
    (r"projection\.(.+)", r"head.\1"),
]
QUERIES = [  # attentional pooling, which CoCa has too
    (r"queries", "visual.attn_pool.query"),
    (r"norm_query\.(.+)", r"visual.attn_pool.ln_q.\1"),
    (r"norm_rows\.(.+)", r"visual.attn_pool.ln_k.\1"),
    (r"norm\.(.+)", r"visual.ln_post.\1"),
    (r"attend\.out\.(.+)", r"visual.attn_pool.attn.out_proj.\1"),
    (r"attend\.(?:query|key|value)\.bias", "visual.attn_pool.attn.in_proj_bias"),
    (r"attend\.(?:query|key|value)\.weight", "visual.attn_pool.attn.in_proj_weight"),
]
HEADS = [  # the projection of a timm network
    (r"weight", "visual.head.proj.weight"),
    (r"bias", "visual.head.proj.bias"),
    (r"0\.(.+)", r"visual.head.mlp.fc1.\1"),
    (r"2\.(.+)", r"visual.head.mlp.fc2.\1"),
]
PARTS = ("query", "key", "value")


def image_side(image: Mapping[str, Any]) -> int:
    """The side of a `vision_cfg`'s pictures. ValueError where they are no squares."""
    size = image.get("image_size", 224)
    sides = set(size) if isinstance(size, list) else {size}
    if len(sides) != 1 or type(side := sides.pop()) is not int or side < 1:
        raise ValueError(f"pictures of {size}, which are no squares")
    return side


def vision_of(image: Mapping[str, Any], quick: bool) -> VisionConfig | None:
    """The encoder of a `vision_cfg`; None for CLIP's own ViT and ResNet. ValueError that names what is not supported."""
    if image.get("timm_model_name"):
        return _timm(image)
    native = {
        "pool_type": "tok",
        "no_ln_pre": False,
        "attentional_pool": False,
        "pos_embed_type": "learnable",
    }
    norms = image.get("norm_kwargs") or {}
    if all(image.get(name, usual) == usual for name, usual in native.items()) and not norms:
        return None
    width, mean = image.get("width", 768), image.get("pool_type", "tok") == "avg"
    queries = bool(image.get("attentional_pool"))
    if queries and mean:
        raise ValueError("pool_type=avg over attentional_pool")
    return ViTConfig(
        patch=image.get("patch_size", 16), width=width, depth=image.get("layers", 12),
        heads=width // image.get("head_width", 64), growth=image.get("mlp_ratio", 4.0),
        activation="quick_gelu" if quick else "gelu", eps=norms.get("eps", 1e-5),
        pool="queries" if queries else "mean" if mean else "class",
        queries=image.get("attn_pooler_queries", 256), query_heads=image.get("attn_pooler_heads", 8),
        class_row=True, patch_bias=False, norm_first=not image.get("no_ln_pre"),
        norm_pooled=bool(image.get("final_ln_after_pool")) and not queries,
        positions="fixed" if image.get("pos_embed_type") == "sin_cos_2d" else "learned", projection="linear",
    )  # fmt: skip


def _timm(image: Mapping[str, Any]) -> VisionConfig:
    """One of our own networks, where it serves timm's name, else timm's."""
    name, pool, kind = (
        image["timm_model_name"],
        image.get("timm_pool", "avg"),
        image.get("timm_proj", "linear"),
    )
    if pool in ("abs_attn", "rot_attn") or kind not in (*PROJECTIONS,):
        raise ValueError(f"timm_pool={pool}, timm_proj={kind}")
    projection = PROJECTIONS[kind]
    if image.get("timm_proj_bias") and projection != "none":
        if projection == "mlp":
            raise ValueError("timm_proj_bias=True of timm_proj=mlp")
        projection = "affine"
    if (match := re.fullmatch(SIGLIP, name)) and pool == "map" and kind == "none":
        width, depth, heads, hidden = SIZES[match[1]]
        activation: Activation = "gelu_tanh" if re.fullmatch(TANH, name) else "gelu"
        return ViTConfig(int(match[2]), width, depth, heads, hidden / width, activation)
    if name in CONVNEXT and pool in ("", "avg") and kind in ("linear", "mlp"):
        depths, first, eps = CONVNEXT[name]
        return ConvNeXtConfig(depths, tuple(first << stage for stage in range(4)), eps, projection)
    if name == CLIP_L14 and pool == "token" and not kind:
        return ViTConfig(
            14, 1024, 24, 16, eps=1e-5, pool="class", class_row=True, patch_bias=False, norm_first=True, projection="affine",
        )  # fmt: skip
    return TimmConfig(name, pool, not kind, projection, image_side(image))


def text_of(text: Mapping[str, Any]) -> TextEncoderConfig | None:
    """The encoder of a `text_cfg` of open_clip's own towers; None for CLIP's. ValueError that names what is not supported."""
    pool, causal = text.get("pool_type", "argmax"), not text.get("no_causal_mask")
    kind: Projection = "none" if text.get("proj_type", "linear") == "none" else "linear"
    if kind == "linear" and text.get("proj_bias"):
        kind = "affine"
    if pool in ("argmax", "eos") and causal and kind == "linear":
        return None
    if pool not in ("argmax", "eos", "last", "first"):
        raise ValueError(f"pool_type={pool} of texts")
    return TextEncoderConfig({"last": "last", "first": "first"}.get(pool, "end"), causal, kind)  # type: ignore[arg-type]


def places(system: System) -> dict[str, Place]:
    """The places of our tensors in the layout."""
    return {name: _place(name, system) for name in system.state_dict()}


def _place(name: str, system: System) -> Place:
    c = system.config
    if name == "bias":
        return Place(("logit_bias",))
    if name.startswith("image.") and c.vision is not None:
        return _vision_place(name.removeprefix("image."), c.vision, c.embedding)
    if name.startswith("text.") and c.text is not None:
        return _text_place(name.removeprefix("text."), isinstance(c.text, TextEncoderConfig))
    return clip_place(name)


def _vision_place(name: str, vision: VisionConfig, embedding: int) -> Place:
    part = name.split(".")[-2] if "." in name else ""
    if not isinstance(vision, ViTConfig) and name.startswith("projection."):
        return Place((rename(name.removeprefix("projection."), HEADS),))
    if isinstance(vision, TimmConfig):
        return Place((f"visual.{name}",))
    if isinstance(vision, ConvNeXtConfig):
        return Place((f"visual.trunk.{rename(name.removeprefix('network.'), convnext.RULES)}",))
    assert isinstance(vision, ViTConfig)  # open_clip takes no image encoder from transformers
    if vision.projection != "linear":  # a ViT of timm
        there = f"visual.trunk.{rename(name, TIMM)}"
        if ".attn.qkv." in there:
            return Place((there,), PARTS.index(part))
        return Place((there,), PARTS.index(part) - 1, of=2) if ".attn_pool.kv." in there else Place((there,))
    if name.startswith("pool."):
        return query_place(name.removeprefix("pool."), vision.width != embedding)
    if name == "projection.weight":
        return Place(("visual.proj",), flipped=True)
    return clip_place(f"image.{name.replace('pooled_norm.', 'norm.')}")


def query_place(name: str, apart: bool) -> Place:
    """The place of a tensor of attentional pooling. apart: the projections of query, key and value, whose widths differ, are
    tensors of their own; their biases are fused all the same."""
    there, part = rename(name, QUERIES), name.split(".")[-2] if "." in name else ""
    if part not in PARTS:
        return Place((there,))
    if apart and name.endswith("weight"):
        return Place((there.replace("in_proj_weight", f"{part[0]}_proj_weight"),))
    return Place((there,), PARTS.index(part))


def _text_place(name: str, own: bool) -> Place:
    if own:
        if name.startswith("projection."):  # without a bias it is a bare matrix
            return Place((f"text_{name}",))
        return clip_place(f"text.{name}")
    if name.startswith("projection."):
        return Place((f"text.{name.replace('projection.', 'proj.')}",))
    return Place((f"text.{name.replace('model.', 'transformer.', 1)}",))


def prepared(theirs: Mapping[str, Tensor], system: System) -> dict[str, Tensor]:
    """The tensors of a file as the places name them: layer scale folded into the linear maps before it, a text tower of
    open_clip's own without its prefix, and one number where some versions have a list of one."""
    tensors = fold_layer_scale(theirs, r"(.*resblocks\.\d+)\.ls_1\.gamma", r"\1.attn.out_proj")
    tensors = fold_layer_scale(tensors, r"(.*resblocks\.\d+)\.ls_2\.gamma", r"\1.mlp.c_proj")
    if isinstance(system.config.vision, ConvNeXtConfig):
        tensors = fold_layer_scale(tensors, rf"({TRUNK}stages\.\d+\.blocks\.\d+)\.gamma", r"\1.mlp.fc2")
    library = system.config.text is not None and not isinstance(system.config.text, TextEncoderConfig)
    ready: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith("position_ids"):  # of transformers before 4.31
            continue
        name = name if library else name.removeprefix("text.")
        if name in ("logit_scale", "logit_bias"):
            tensor = tensor.reshape(())
        if name == "text_projection" and not library and system.config.text is not None:
            name, tensor = "text_projection.weight", tensor.T
        ready[name] = tensor
    return ready
