"""CLIP as open_clip saves it: `open_clip_config.json` beside `open_clip_model.safetensors` or `open_clip_pytorch_model.bin`.

Facts: OpenAI's names; plain GELU unless `quick_gelu`; the number of heads is width / `head_width`; `layers` is a list for a
ResNet. Towers of timm or transformers and other poolings are not supported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save as to_bytes
from torch import Tensor

from pairloom.checkpoints import names
from pairloom.checkpoints.layout import FILES, read
from pairloom.data.disk import atomic_write
from pairloom.data.tokens import Tokens
from pairloom.data.transform import OPENAI_MEAN, OPENAI_STD, Transform
from pairloom.errors import Mistake
from pairloom.model import Model, read_json
from pairloom.model.saving import claim_empty
from pairloom.systems.clip import Config
from pairloom.weights._hub import tokens_near
from pairloom.weights.openai_clip import check_tokens, filled, to_openai

WRITES, SYSTEM = "open_clip", "clip"  # what `pairloom export --to` calls it, and of which system
FILE = "open_clip_config.json"
# the settings of a config beside the sizes, each with the only value that is supported
TEXT_IS = {
    "pool_type": ("argmax",),
    "embed_cls": (False,),
    "no_causal_mask": (False,),
    "proj_bias": (False,),
}
IMAGE_IS = {
    "pool_type": ("tok",),
    "no_ln_pre": (False,),
    "pos_embed_type": ("learnable",),
    "attentional_pool": (False,),
}
BOTH_IS = {
    "final_ln_after_pool": (False,), "proj_type": ("linear",), "ls_init_value": (None,), "qk_norm": (False,),
    "act_kwargs": (None, {}), "norm_kwargs": (None, {}), "block_type": (None, "default"),
    "scaled_cosine_attn": (False,), "scale_heads": (False,), "scale_attn_inner": (False,), "scale_attn": (False,),
    "scale_fc": (False,), "output_tokens": (False, True),
}  # fmt: skip
SIZES = {
    "context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "head_width", "patch_size", "image_size",
    "patch_dropout", "hf_tokenizer_name", "tokenizer_kwargs", "tokenizer_mode", "pad_id", "eos_id",
    "attn_pooler_queries", "attn_pooler_heads",
}  # fmt: skip


def holds(where: Path) -> bool:
    """Whether a folder has open_clip's config and weights."""
    return where.is_dir() and (where / FILE).is_file() and any((where / name).is_file() for name in FILES)


def sniff(where: Path) -> bool:
    """Whether a path is a folder of open_clip without a multimodal part (CoCa has a layout of its own)."""
    return holds(where) and "multimodal_cfg" not in read_json(where / FILE).get("model_cfg", {})


def weights_in(where: Path) -> Path:
    """The weights file of a folder: open_clip's own before others, since a hub folder may hold transformers' too."""
    return where / str(names.weights_in([entry.name for entry in where.iterdir()]))


def load(where: Path) -> Model:
    """Load an open_clip folder. Mistake for a tower that is not supported, and for unknown tensors."""
    document = read_json(where / FILE)
    config = config_of(document.get("model_cfg", {}), where)
    system = filled(config, read(weights_in(where)), where)
    library = (where / "tokenizer.json").is_file() or (where / "vocab.json").is_file()
    tokens = Tokens.load(where, "clip") if library else tokens_near(where, "clip")
    check_tokens(tokens, config, where)
    about = {"source": f"open_clip ({where.name})"}
    pixels = pixels_of(document.get("preprocess_cfg", {}), config.image_size, where)
    return Model("clip", system, tokens, pixels, about)


def config_of(document: Mapping[str, Any], where: Path) -> Config:
    """The Config of a `model_cfg`."""
    text, image = document.get("text_cfg", {}), document.get("vision_cfg", {})
    wanting = ("custom_text", "force_custom_text", "init_logit_bias", "audio_cfg")
    strange = [name for name in wanting if document.get(name)]
    for part, allowed in ((text, TEXT_IS | BOTH_IS), (image, IMAGE_IS | BOTH_IS)):
        strange += [
            f"{name}={value}"
            for name, value in part.items()
            if name not in SIZES and value not in allowed.get(name, (None,))
        ]
    if strange or not (text and image and "embed_dim" in document):
        raise Mistake(
            f"{where / FILE} describes a CLIP that is not supported.",
            f"It has {', '.join(strange)}." if strange else "It has no embed_dim, text_cfg or vision_cfg.",
            "Supported are ViT and ResNet towers with class token or attention pooling, and causal text towers.",
        )
    width, layers, size = image.get("width", 768), image.get("layers", 12), image.get("image_size", 224)
    if not isinstance(size, int) and len(set(size)) > 1:
        raise Mistake(f"{where / FILE} describes pictures that are no squares.", f"{size}")
    words, head = text.get("vocab_size", 49408), image.get("head_width", 64)
    resnet = isinstance(layers, list)
    sizes: dict[str, Any] = (
        dict(stages=tuple(layers), image_heads=width * 32 // head)
        if resnet
        else dict(
            image_depth=layers, image_heads=width // head, patch=image.get("patch_size", 16),
            image_growth=image.get("mlp_ratio", 4.0),
        )
    )  # fmt: skip
    return Config(
        image_size=size if isinstance(size, int) else size[0], image_width=width, vocabulary=words,
        length=text.get("context_length", 77), width=text.get("width", 512), depth=text.get("layers", 12),
        heads=text.get("heads", 8), growth=text.get("mlp_ratio", 4.0), embedding=document["embed_dim"],
        activation="quick_gelu" if document.get("quick_gelu") else "gelu", pad=words - 1, cls=words - 2, sep=words - 1,
        **sizes,
    )  # fmt: skip


def pixels_of(document: Mapping[str, Any], size: int, where: Path) -> Transform:
    """The Transform of a `preprocess_cfg`."""
    mode, way = document.get("resize_mode", "shortest"), document.get("interpolation", "bicubic")
    if mode not in ("shortest", "squash") or way not in ("bicubic", "random"):
        raise Mistake(
            f"{where / FILE} resizes pictures by {mode}, {way}.", "Here: shortest or squash, bicubic."
        )
    mean, std = document.get("mean") or OPENAI_MEAN, document.get("std") or OPENAI_STD
    return Transform(size, tuple(mean), tuple(std), "crop" if mode == "shortest" else "square")


def export(model: Model, out: Path) -> None:
    """Export an open_clip folder. Mistake where it cannot hold the tokenizer or a size."""
    c = model.config
    if not model.tokens.byte_pairs or c.eps != 1e-5:
        raise Mistake(
            "open_clip's folders hold CLIP's own tokenizer.",
            "This model has another.",
            "Try --to transformers.",
        )
    image: dict[str, Any] = {"image_size": c.image_size, "width": c.image_width}
    if c.stages:
        image |= {
            "layers": list(c.stages),
            "patch_size": None,
            "head_width": c.image_width * 32 // c.image_heads,
        }
    else:
        head = c.image_width // c.image_heads
        image |= {
            "layers": c.image_depth,
            "patch_size": c.patch,
            "head_width": head,
            "mlp_ratio": c.image_growth,
        }
    text = {
        "context_length": c.length, "vocab_size": c.vocabulary, "width": c.width, "heads": c.heads, "layers": c.depth,
        "mlp_ratio": c.growth,
    }  # fmt: skip
    sizes = {
        "embed_dim": c.embedding,
        "quick_gelu": c.activation == "quick_gelu",
        "vision_cfg": image,
        "text_cfg": text,
    }
    write(model, out, sizes, to_openai(model.system))


def write(model: Model, out: Path, sizes: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a folder with a `model_cfg` and its weights. Mistake where `out` is not empty."""
    seen = {
        "size": [model.config.image_size] * 2, "mean": model.pixels.mean, "std": model.pixels.std,
        "interpolation": "bicubic", "resize_mode": "shortest" if model.pixels.fit == "crop" else "squash",
    }  # fmt: skip
    claim_empty(out)
    files = {
        "tokenizer.json": model.tokens.to_json().encode(),
        "open_clip_model.safetensors": to_bytes(dict(tensors), {"format": "pt"}),
        FILE: json.dumps({"model_cfg": sizes, "preprocess_cfg": seen}, indent=1).encode(),
    }
    for name, data in files.items():
        with atomic_write(out / name) as file:
            file.write(data)
