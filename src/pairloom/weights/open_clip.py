"""CLIP and the models after it as open_clip saves them: `open_clip_config.json` beside `open_clip_model.safetensors` or
`open_clip_pytorch_model.bin`. SigLIP, MetaCLIP 2, CLIPA, EVA-CLIP, MobileCLIP, PE ... are a `clip` with other encoders.

Facts: OpenAI's names; plain GELU unless `quick_gelu`; the number of heads is width / `head_width`; `layers` is a list for a
ResNet; a logit bias means the sigmoid loss.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save as to_bytes
from torch import Tensor

from pairloom.blocks.encoder_configs import LibraryTextConfig
from pairloom.checkpoints import names
from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import FILES, read, take
from pairloom.checkpoints.settings import JsonSettings
from pairloom.data.disk import atomic_write
from pairloom.data.tokens import Tokens
from pairloom.data.transform import OPENAI_MEAN, OPENAI_STD, Transform
from pairloom.errors import Mistake
from pairloom.model import Model, read_json
from pairloom.model.saving import claim_empty
from pairloom.systems.clip import Config, System
from pairloom.weights import _open_clip_encoders as encoders
from pairloom.weights._open_clip_texts import library_text_of, padding_of, tokens_of
from pairloom.weights.openai_clip import COUNTS, LEFT, check_tokens, to_openai

WRITES, SYSTEM = "open_clip", "clip"  # what `pairloom export --to` calls it, and of which system
FILE = "open_clip_config.json"
FITS: dict[str, Literal["square", "crop", "pad"]] = {"squash": "square", "shortest": "crop", "longest": "pad"}
# settings of a config that have one supported value, or several; those of SIZES and OPTIONS have any
BOTH_IS = {
    "qk_norm": (False,), "block_type": (None, "default"), "scaled_cosine_attn": (False,), "scale_heads": (False,),
    "scale_attn_inner": (False,), "scale_attn": (False,), "scale_fc": (False,), "output_tokens": (False, True),
}  # fmt: skip
TEXT_IS = {
    "embed_cls": (False,),
    "final_ln_after_pool": (False,),
    "act_kwargs": (None, {}, {"approximate": "tanh"}),
}
IMAGE_IS = {
    "attentional_pool": (False, True), "pool_type": ("tok", "avg"), "act_kwargs": (None, {}),
    "pos_embed_type": ("learnable", "sin_cos_2d"),
}  # fmt: skip
SIZES = {
    "context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "head_width", "patch_size", "image_size",
    "patch_dropout", "hf_tokenizer_name", "tokenizer_kwargs", "tokenizer_mode", "pad_id", "eos_id",
    "attn_pooler_queries", "attn_pooler_heads",
}  # fmt: skip
OPTIONS = {
    "ls_init_value", "norm_kwargs", "no_ln_pre", "final_ln_after_pool", "timm_model_name", "timm_model_pretrained", "timm_pool", "timm_proj",
    "timm_proj_bias", "timm_drop", "timm_drop_path", "pool_type", "no_causal_mask", "proj_bias", "proj_type",
    "hf_model_name", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type",
}  # fmt: skip


# the type of each setting of a tower; a list stands for the layers of a ResNet, and for both sides of a picture
WHOLE = {
    "context_length", "vocab_size", "width", "heads", "layers", "head_width", "patch_size", "image_size", "attn_pooler_queries",
    "attn_pooler_heads",
}  # fmt: skip
NUMBERS, GROUPS = {"mlp_ratio", "patch_dropout"}, {"act_kwargs", "norm_kwargs", "tokenizer_kwargs"}
TEXTS = {
    "timm_model_name", "timm_pool", "timm_proj", "pool_type", "proj_type", "pos_embed_type", "hf_model_name",
    "hf_tokenizer_name", "hf_pooler_type", "hf_proj_type",
}  # fmt: skip
FLAGS = {
    "no_ln_pre",
    "final_ln_after_pool",
    "no_causal_mask",
    "proj_bias",
    "timm_proj_bias",
    "attentional_pool",
}


def holds(where: Path) -> bool:
    """Whether a folder has open_clip's config and weights."""
    return where.is_dir() and (where / FILE).is_file() and any((where / name).is_file() for name in FILES)


def sniff(where: Path) -> bool:
    """Whether a path is a folder of open_clip without a multimodal part (CoCa has a layout of its own)."""
    return holds(where) and "multimodal_cfg" not in sizes_of(where)


def sizes_of(where: Path) -> dict[str, Any]:
    """The `model_cfg` of a folder; empty where there is none."""
    sizes = read_json(where / FILE).get("model_cfg")
    return sizes if isinstance(sizes, dict) else {}


def weights_in(where: Path) -> Path:
    """The weights file of a folder: open_clip's own before others, since a hub folder may hold transformers' too."""
    return where / str(names.weights_in([entry.name for entry in where.iterdir()]))


def load(where: Path) -> Model:
    """Load an open_clip folder. Mistake for a tower that is not supported, and for unknown tensors."""
    settings = JsonSettings.read(where / FILE)
    sizes = settings.inner("model_cfg")
    config, theirs = config_of(sizes, where), read(weights_in(where))
    text = sizes.inner("text_cfg").values
    try:
        tokens = tokens_of(text, where)
    except ValueError as error:
        raise _unsupported(where, str(error)) from error
    if any(text.get(name) for name in ("hf_tokenizer_name", "hf_model_name")):
        config = _fitted(config, tokens, theirs, where)
    check_tokens(tokens, config, where)
    system = build_for(theirs, lambda: System(config), where / FILE)
    moved = take(encoders.prepared(theirs, system), encoders.places(system), system.state_dict())
    moved.missing = [name for name in moved.missing if not name.endswith(COUNTS)]
    moved.left = [name for name in moved.left if name not in LEFT]
    moved.whole(where).into(system)
    about = {"source": f"open_clip ({where.name})"}
    pixels = pixels_of(settings.inner("preprocess_cfg"), config.image_size, where)
    return Model("clip", system.eval(), tokens, pixels, about)


def config_of(model: JsonSettings, where: Path) -> Config:
    """The Config of a `model_cfg`."""
    text, image = typed(model.inner("text_cfg")), typed(model.inner("vision_cfg"), ("layers", "image_size"))
    strange = [name for name in ("audio_cfg", "multimodal_cfg") if model.values.get(name)]
    for part, allowed in ((text, TEXT_IS | BOTH_IS), (image, IMAGE_IS | BOTH_IS)):
        strange += [
            f"{name}={value}"
            for name, value in part.items()
            if (name not in SIZES | OPTIONS or name in allowed) and value not in allowed.get(name, (None,))
        ]
    if strange or not (text and image and "embed_dim" in model):
        raise _unsupported(where, ", ".join(strange) or "no embed_dim, text_cfg or vision_cfg")
    quick, sigmoid = model.flag("quick_gelu"), "init_logit_bias" in model
    try:
        size = encoders.image_side(image)
        vision = encoders.vision_of(image, quick)
        reader = library_text_of(text) if text.get("hf_model_name") else encoders.text_of(text)
    except (ValueError, TypeError, ArithmeticError, LookupError) as error:
        raise _unsupported(where, str(error)) from error
    return Config(
        image_size=size, embedding=model.whole("embed_dim"),
        loss="sigmoid" if sigmoid else "softmax", vision=vision, text=reader, **_text_sizes(text, quick),
        **({} if vision is not None else _image_sizes(image)),
    )  # fmt: skip


def typed(part: JsonSettings, lists: Collection[str] = ()) -> Mapping[str, Any]:
    """The settings of a tower, without numbers that are null. lists: those that may be several whole numbers. Mistake for one that is
    of another type than open_clip's."""
    numbers: dict[str, Any] = {}
    for name in filter(part.__contains__, part.values):
        if name in lists and isinstance(part.values[name], list):
            numbers[name] = [int(one) for one in part.numbers(name)]
        elif name in WHOLE:
            numbers[name] = part.whole(name)
        elif name in NUMBERS:
            numbers[name] = part.number(name, least=0.0)
        elif name in TEXTS:
            part.text(name)
        elif name in FLAGS:
            part.flag(name)
        elif name in GROUPS:
            part.inner(name).number("eps", 1e-5)
    plain, every = WHOLE | NUMBERS | FLAGS, part.values.items()
    return {name: value for name, value in every if value is not None or name not in plain} | numbers


def _image_sizes(image: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of CLIP's own ViT or ResNet."""
    width, layers, head = image.get("width", 768), image.get("layers", 12), image.get("head_width", 64)
    if isinstance(layers, list):
        return dict(image_width=width, stages=tuple(layers), image_heads=width * 32 // head)
    return dict(
        image_width=width, image_depth=layers, image_heads=width // head, patch=image.get("patch_size", 16),
        image_growth=image.get("mlp_ratio", 4.0),
    )  # fmt: skip


def _text_sizes(text: Mapping[str, Any], quick: bool) -> dict[str, Any]:
    """The numbers of the text side, where start and end are the last ids, as CLIP's are. A text that sees its padding is filled up
    with zeros."""
    words, tanh = text.get("vocab_size", 49408), (text.get("act_kwargs") or {}).get("approximate") == "tanh"
    return dict(
        vocabulary=words, length=text.get("context_length", 77), width=text.get("width", 512),
        depth=text.get("layers", 12), heads=text.get("heads", 8), growth=text.get("mlp_ratio", 4.0),
        activation="quick_gelu" if quick else "gelu_tanh" if tanh else "gelu",
        eps=(text.get("norm_kwargs") or {}).get("eps", 1e-5), cls=words - 2, sep=words - 1,
        pad=0 if text.get("no_causal_mask") else words - 1,
    )  # fmt: skip


def _fitted(config: Config, tokens: Tokens, theirs: dict[str, Tensor], where: Path) -> Config:
    """The Config for a tokenizer that is not CLIP's. Rows of the word table past the last id, which no text has, are cut off."""
    for name in ("token_embedding.weight", "text.token_embedding.weight"):
        if name in theirs and len(theirs[name]) > tokens.size:
            theirs[name] = theirs[name][: tokens.size]
            config = replace(config, vocabulary=tokens.size)
    if isinstance(config.text, LibraryTextConfig):
        config = replace(config, vocabulary=tokens.size)
    cls = tokens.roles.get("cls", tokens.sep)
    return replace(config, pad=padding_of(tokens, where), cls=cls, sep=tokens.sep)


def _unsupported(where: Path, strange: str) -> Mistake:
    return Mistake(
        f"{where / FILE} describes a CLIP that is not supported.",
        f"It has {strange}.",
        "See docs/weights.md.",
    )


def pixels_of(settings: JsonSettings, size: int, where: Path) -> Transform:
    """The Transform of a `preprocess_cfg`."""
    mode, way = settings.text("resize_mode", "shortest"), settings.text("interpolation", "bicubic")
    fill = settings.values.get("fill_color") or 0
    if mode not in FITS or way not in ("bicubic", "bilinear", "random") or (fill and mode == "longest"):
        raise Mistake(
            f"{where / FILE} resizes pictures by {mode}, {way}, and fills them up with {fill}.",
            "Here: shortest, squash or longest, by bicubic or bilinear filters, and black.",
        )
    mean, std = (
        _channels(settings, name, usual) for name, usual in (("mean", OPENAI_MEAN), ("std", OPENAI_STD))
    )
    # "random" draws a filter in training and is bicubic otherwise
    return Transform(size, mean, std, FITS[mode], "bilinear" if way == "bilinear" else "bicubic")


def _channels(settings: JsonSettings, name: str, usual: tuple[float, ...]) -> tuple[float, ...]:
    """The numbers of the three channels; one number is that of each."""
    if isinstance(settings.values.get(name), int | float):
        return (settings.number(name),) * 3
    return settings.numbers(name, usual, 3)


def export(model: Model, out: Path) -> None:
    """Export an open_clip folder. Mistake where it cannot hold the tokenizer or a size."""
    c = model.config
    if c.vision is not None or c.text is not None:
        raise Mistake(
            "Only a CLIP with the paper's towers is written for open_clip.",
            "This one has encoders of a later model.",
            "Keep it as a folder of pairloom.",
        )
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
    if model.pixels.resized:
        raise Mistake("open_clip cannot cut pictures smaller than it resizes them.", "This model's are.")
    seen = {
        "size": [model.config.image_size] * 2, "mean": model.pixels.mean, "std": model.pixels.std,
        "interpolation": model.pixels.resample,
        "resize_mode": next(mode for mode, fit in FITS.items() if fit == model.pixels.fit),
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
