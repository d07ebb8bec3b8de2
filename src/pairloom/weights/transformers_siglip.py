"""SigLIP and SigLIP 2 as transformers saves them (SiglipModel): config.json, weights, tokenizer.json, image processor.

Facts: both activations are GELU by tanh; query, key and value of the attention pooling are fused, all others separate; scale and
bias are lists of one number; texts are filled up to the full length and no padding is masked. SigLIP's tokenizer removes
punctuation and case, SigLIP 2's case alone. SigLIP 2 of any resolution (NaFlex, model type "siglip2") is not supported.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from pairloom.blocks.encoder_configs import TextEncoderConfig, ViTConfig
from pairloom.blocks.feed import Activation
from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Place, give, rename, take
from pairloom.checkpoints.settings import JsonSettings
from pairloom.errors import Mistake
from pairloom.model import Model, read_json
from pairloom.systems.clip import Config, System
from pairloom.weights._open_clip_texts import padding_of
from pairloom.weights._transformers import holds, part, pixels_of, tokens_of, weights_of, write
from pairloom.weights.openai_clip import LAYER, LEAD, check_tokens
from pairloom.weights.transformers_clip import BLOCK, LETTER, WORDS

ACTIVATIONS: dict[str, Activation] = {
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu": "gelu",
    "quick_gelu": "quick_gelu",
}
BOTH = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6,
}  # fmt: skip
TEXT = {**BOTH, "vocab_size": 32000, "max_position_embeddings": 64, "projection_size": None}
IMAGE = {**BOTH, "image_size": 224, "patch_size": 16, "vision_use_head": True}
HEAD = "vision_model.head"
RULES = [
    (r"scale", "logit_scale"),
    (r"bias", "logit_bias"),
    (r"text\.embed\.0\.words\.weight", WORDS),
    (r"text\.embed\.0\.positions\.weight", "text_model.embeddings.position_embedding.weight"),
    (r"text\.norm\.(.+)", r"text_model.final_layer_norm.\1"),
    (r"text\.projection\.(.+)", r"text_model.head.\1"),
    (r"image\.embed\.positions", "vision_model.embeddings.position_embedding.weight"),
    (r"image\.embed\.patch\.(.+)", r"vision_model.embeddings.patch_embedding.\1"),
    (r"image\.norm\.(.+)", r"vision_model.post_layernorm.\1"),
    *((rf"text\.{LAYER}{ours}", rf"text_model.encoder.layers.\1.{there}") for ours, there in BLOCK),
    *((rf"image\.{LAYER}{ours}", rf"vision_model.encoder.layers.\1.{there}") for ours, there in BLOCK),
    (r"image\.pool\.query", f"{HEAD}.probe"),
    (r"image\.pool\.attend\.(?:query|key|value)\.(.+)", rf"{HEAD}.attention.in_proj_\1"),
    (r"image\.pool\.attend\.out\.(.+)", rf"{HEAD}.attention.out_proj.\1"),
    (r"image\.pool\.norm\.(.+)", rf"{HEAD}.layernorm.\1"),
    (r"image\.pool\.feed\.up\.(.+)", rf"{HEAD}.mlp.fc1.\1"),
    (r"image\.pool\.feed\.down\.(.+)", rf"{HEAD}.mlp.fc2.\1"),
]


def places(system: System) -> dict[str, Place]:
    """The places of our tensors in the layout."""
    return {name: _place(name) for name in system.state_dict()}


def _place(name: str) -> Place:
    there = rename(name, RULES)
    for long, short in LETTER.items():
        there = there.replace(long, short)
    third = ("query", "key", "value").index(name.split(".")[-2]) if ".in_proj_" in there else None
    return Place((there,), third, lead=LEAD.get(name, 0))


def sniff(where: Path) -> bool:
    """Whether a path is a folder whose config has the model type "siglip" or "siglip2"."""
    return holds(where, "siglip") or holds(where, "siglip2")


def load(where: Path, adapters: Path | None = None) -> Model:
    """Load a folder of transformers. adapters: a folder of peft's, which are added to its weights. Mistake for missing or unknown
    tensors, and for another tokenizer."""
    settings = JsonSettings.read(where / "config.json")
    if settings.text("model_type") == "siglip2":
        raise Mistake(
            f"{where} is a SigLIP 2 that reads pictures of any resolution (NaFlex).",
            "Here every picture of a model has one size.",
            "Take a SigLIP 2 of a fixed one, such as google/siglip2-base-patch16-224.",
        )
    config = config_of(settings, where)
    tokens, read = tokens_of(where, _cleaning(where)), weights_of(where, adapters)
    theirs = {name: tensor for name, tensor in read.items() if not name.endswith("position_ids")}
    numbers = [name for name in ("logit_scale", "logit_bias") if name in theirs and theirs[name].numel() == 1]
    theirs |= {name: theirs[name].reshape(()) for name in numbers}
    if tokens.size < config.vocabulary and WORDS in theirs:  # rows that no text reads
        config = replace(config, vocabulary=tokens.size)
        theirs[WORDS] = theirs[WORDS][: tokens.size]
    pad, first = padding_of(tokens, where), tokens.roles.get("cls", tokens.sep)
    config = replace(config, pad=pad, sep=tokens.sep, cls=first)
    check_tokens(tokens, config, where)
    system = build_for(theirs, lambda: System(config), where / "config.json")
    take(theirs, places(system), system.state_dict()).whole(where).into(system)
    about = {"source": f"transformers SiglipModel ({where.name})"}
    return Model("clip", system.eval(), tokens, pixels_of(where, config.image_size, "Siglip"), about)


def _cleaning(where: Path) -> str:
    """How the class of a tokenizer cleans texts: SigLIP 2's, which are Gemma's, are lower case."""
    name = str(read_json(where / "tokenizer_config.json").get("tokenizer_class", ""))
    if name.startswith(("Gemma", "Siglip2")):
        return "lower"
    return "siglip" if name.startswith("Siglip") or not name else ""


def config_of(settings: JsonSettings, where: Path) -> Config:
    """The Config of a config.json. Mistake for an activation or a pooling that is not supported."""
    text, image = part(settings, "text_config", TEXT), part(settings, "vision_config", IMAGE)
    acts = [one.text("hidden_act") for one in (text, image)]
    strange = [act for act in acts if act not in ACTIVATIONS]
    if strange or not image.flag("vision_use_head"):
        why = f"Its activation is {strange[0]}." if strange else "It has no attention pooling."
        raise Mistake(f"{where} is a SigLIP that is not supported.", why)
    width, text_width = image.whole("hidden_size"), text.whole("hidden_size")
    embedding = text.whole("projection_size", text_width)
    if width != embedding:
        raise Mistake(f"{where} does not fit together.", f"Pictures have {width} numbers, texts {embedding}.")
    return Config(
        image_size=image.whole("image_size"), vocabulary=text.whole("vocab_size"),
        length=text.whole("max_position_embeddings"), width=text_width, depth=text.whole("num_hidden_layers"),
        heads=text.whole("num_attention_heads"), growth=text.whole("intermediate_size") / text_width,
        embedding=embedding, loss="sigmoid", activation=ACTIVATIONS[acts[0]], eps=text.number("layer_norm_eps", least=0.0),
        text=TextEncoderConfig(),
        vision=ViTConfig(
            image.whole("patch_size"), width, image.whole("num_hidden_layers"), image.whole("num_attention_heads"),
            image.whole("intermediate_size") / width, ACTIVATIONS[acts[1]], image.number("layer_norm_eps", least=0.0),
        ),
    )  # fmt: skip


def fits(config: Config) -> bool:
    """Whether a SiglipModel can have these encoders."""
    vision = config.vision
    return (
        config.loss == "sigmoid"
        and config.text == TextEncoderConfig()
        and isinstance(vision, ViTConfig)
        and (vision.pool, vision.projection, vision.class_row, vision.patch_bias)
        == ("map", "none", False, True)
        and not (vision.norm_first or vision.norm_pooled)
    )


def export(model: Model, out: Path) -> None:
    """Export a folder that SiglipModel.from_pretrained loads."""
    c, system = model.config, model.system
    names = {ours: theirs for theirs, ours in ACTIVATIONS.items()}
    text = {
        "model_type": "siglip_text_model", **_sizes(c.width, c.growth, c.depth, c.heads, names[c.activation], c.eps),
        "vocab_size": c.vocabulary, "max_position_embeddings": c.length, "projection_size": c.embedding,
        "pad_token_id": c.pad, "bos_token_id": c.cls, "eos_token_id": c.sep,
    }  # fmt: skip
    v = c.vision
    image = {
        "model_type": "siglip_vision_model", **_sizes(v.width, v.growth, v.depth, v.heads, names[v.activation], v.eps),
        "image_size": c.image_size, "patch_size": v.patch,
    }  # fmt: skip
    config = {
        "architectures": ["SiglipModel"], "model_type": "siglip", "dtype": "float32", "text_config": text,
        "vision_config": image,
    }  # fmt: skip
    tensors = give(system.state_dict(), places(system))
    tensors |= {name: _listed(tensors[name]) for name in ("logit_scale", "logit_bias")}
    write(model, out, config, tensors, "Siglip")


def _sizes(width: int, growth: float, depth: int, heads: int, activation: str, eps: float) -> dict[str, Any]:
    return {
        "hidden_size": width, "intermediate_size": round(width * growth), "num_hidden_layers": depth,
        "num_attention_heads": heads, "hidden_act": activation, "layer_norm_eps": eps,
    }  # fmt: skip


def _listed(number: Tensor) -> Tensor:
    return number.reshape(1)
