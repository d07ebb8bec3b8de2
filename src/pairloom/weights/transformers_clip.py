"""CLIP as transformers saves it (CLIPModel): config.json, model.safetensors or pytorch_model.bin, tokenizer, processor.

Facts: query, key and value are separate; `pre_layrnorm` has this spelling; eos_token_id 2 is an old mistake of the configs
and means the highest id; the pooled row is that of the first end token. transformers has only the ViT image tower.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Place, give, rename, take
from pairloom.checkpoints.settings import JsonSettings
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.systems.clip import Config, System
from pairloom.weights._transformers import holds, part, pixels_of, tokens_of, weights_of, write
from pairloom.weights.openai_clip import LAYER, LEAD, check_tokens

WRITES, SYSTEM = "transformers", "clip"
TEXT = {
    "vocab_size": 49408, "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12,
    "num_attention_heads": 8, "max_position_embeddings": 77, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
    "eos_token_id": 49407, "bos_token_id": 49406,
}  # fmt: skip
IMAGE = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "image_size": 224, "patch_size": 32, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
}  # fmt: skip
LEGACY_END, PADDING = 2, 128
ACTIVATIONS = ("gelu", "quick_gelu")
WORDS = "text_model.embeddings.token_embedding.weight"
BLOCK = [
    (r"attend\.0\.fn\.(query|key|value|out)\.(.+)", r"self_attn.\2_proj.\3"),
    (r"attend\.0\.norm\.(.+)", r"layer_norm1.\2"),
    (r"feed\.0\.norm\.(.+)", r"layer_norm2.\2"),
    (r"feed\.0\.fn\.up\.(.+)", r"mlp.fc1.\2"),
    (r"feed\.0\.fn\.down\.(.+)", r"mlp.fc2.\2"),
]
RULES = [
    (r"scale", "logit_scale"),
    (r"text_projection\.weight", "text_projection.weight"),
    (r"image_projection\.weight", "visual_projection.weight"),
    (r"text\.embed\.0\.words\.weight", "text_model.embeddings.token_embedding.weight"),
    (r"text\.embed\.0\.positions\.weight", "text_model.embeddings.position_embedding.weight"),
    (r"text\.norm\.(.+)", r"text_model.final_layer_norm.\1"),
    (r"image\.embed\.class_row", "vision_model.embeddings.class_embedding"),
    (r"image\.embed\.positions", "vision_model.embeddings.position_embedding.weight"),
    (r"image\.embed\.patch\.weight", "vision_model.embeddings.patch_embedding.weight"),
    (r"image\.first_norm\.(.+)", r"vision_model.pre_layrnorm.\1"),
    (r"image\.norm\.(.+)", r"vision_model.post_layernorm.\1"),
    *((rf"text\.{LAYER}{ours}", rf"text_model.encoder.layers.\1.{there}") for ours, there in BLOCK),
    *((rf"image\.{LAYER}{ours}", rf"vision_model.encoder.layers.\1.{there}") for ours, there in BLOCK),
]
LETTER = {".query_proj.": ".q_proj.", ".key_proj.": ".k_proj.", ".value_proj.": ".v_proj."}


def places(system: System) -> dict[str, Place]:
    """The places of our tensors in the layout."""
    places_ = {}
    for name in system.state_dict():
        there = rename(name, RULES)
        for long, short in LETTER.items():
            there = there.replace(long, short)
        places_[name] = Place((there,), lead=LEAD.get(name, 0))
    return places_


def sniff(where: Path) -> bool:
    """Whether a path is a folder whose config has the model type "clip"."""
    return holds(where, "clip")


def load(where: Path, adapters: Path | None = None) -> Model:
    """Load a folder of transformers. adapters: a folder of peft's, which are added to its weights. Mistake for missing or unknown
    tensors, and for another tokenizer."""
    settings = JsonSettings.read(where / "config.json")
    config = config_of(settings, where)
    tokens = tokens_of(where)
    padded = config.vocabulary - tokens.size  # rows that nothing reads, up to a round number
    theirs = {
        name: tensor
        for name, tensor in weights_of(where, adapters).items()
        if not name.endswith("position_ids")
    }
    if 0 < padded < PADDING and config.vocabulary % 8 == 0 and WORDS in theirs:
        config = replace(config, vocabulary=tokens.size)
        theirs[WORDS] = theirs[WORDS][: tokens.size]
    if (
        tokens.size > LEGACY_END
        and part(settings, "text_config", TEXT).whole("eos_token_id", least=0) == LEGACY_END
    ):
        config = replace(config, sep=tokens.sep, pad=tokens.sep)
    check_tokens(tokens, config, where)
    system = build_for(theirs, lambda: System(config), where)
    take(theirs, places(system), system.state_dict()).whole(where).into(system)
    about = {"source": f"transformers CLIPModel ({where.name})"}
    return Model("clip", system.eval(), tokens, pixels_of(where, config.image_size, "CLIP"), about)


def config_of(settings: JsonSettings, where: Path) -> Config:
    """The Config of a config.json. Mistake where the towers differ in a setting that is the same for both here."""
    text, image = part(settings, "text_config", TEXT), part(settings, "vision_config", IMAGE)
    activation: Any = text.text("hidden_act", among=ACTIVATIONS)
    eps = text.number("layer_norm_eps", least=0.0)
    for name, one, other in (
        ("hidden_act", activation, image.text("hidden_act")),
        ("layer_norm_eps", eps, image.number("layer_norm_eps", least=0.0)),
    ):
        if one != other:
            raise Mistake(f"The towers in {where} differ in {name}.", f"{one} and {other}.", "")
    words, end = text.whole("vocab_size"), text.whole("eos_token_id", least=0)
    end = words - 1 if end == LEGACY_END else end
    width, image_width = text.whole("hidden_size"), image.whole("hidden_size")
    return Config(
        image_size=image.whole("image_size"), patch=image.whole("patch_size"), image_width=image_width,
        image_depth=image.whole("num_hidden_layers"), image_heads=image.whole("num_attention_heads"),
        image_growth=image.whole("intermediate_size") / image_width, vocabulary=words,
        length=text.whole("max_position_embeddings"), width=width, depth=text.whole("num_hidden_layers"),
        heads=text.whole("num_attention_heads"), growth=text.whole("intermediate_size") / width,
        embedding=settings.whole("projection_dim", 512), activation=activation, eps=eps,
        pad=end, cls=text.whole("bos_token_id", least=0), sep=end,
    )  # fmt: skip


def export(model: Model, out: Path) -> None:
    """Export a folder that CLIPModel.from_pretrained loads. Mistake for a ResNet tower, which transformers does not have."""
    c = model.config
    if c.vision is not None or c.text is not None:
        from pairloom.weights import transformers_siglip

        if transformers_siglip.fits(c):
            transformers_siglip.export(model, out)
            return
    if c.vision is not None or c.text is not None or c.loss != "softmax":
        raise Mistake("transformers' CLIPModel has the paper's towers and loss.", "This model has others.")
    if c.stages:
        raise Mistake("transformers has no CLIP with a ResNet.", "", "Try --to open_clip.")
    common = {"hidden_act": c.activation, "layer_norm_eps": c.eps}
    if c.sep == LEGACY_END:
        raise Mistake(
            "The end token of this model is id 2.",
            "transformers takes that for an old mistake of CLIP's configs and reads texts at their highest id instead.",
            "",
        )
    text = {
        "model_type": "clip_text_model", "vocab_size": c.vocabulary, "hidden_size": c.width,
        "intermediate_size": round(c.width * c.growth), "num_hidden_layers": c.depth, "num_attention_heads": c.heads,
        "max_position_embeddings": c.length, "eos_token_id": c.sep, "bos_token_id": c.cls, "pad_token_id": c.pad,
        "projection_dim": c.embedding, **common,
    }  # fmt: skip
    image = {
        "model_type": "clip_vision_model", "hidden_size": c.image_width,
        "intermediate_size": round(c.image_width * c.image_growth), "num_hidden_layers": c.image_depth,
        "num_attention_heads": c.image_heads, "image_size": c.image_size, "patch_size": c.patch,
        "projection_dim": c.embedding, **common,
    }  # fmt: skip
    config = {
        "architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": c.embedding, "dtype": "float32",
        "text_config": text, "vision_config": image,
    }  # fmt: skip
    system: System = model.system
    write(model, out, config, give(system.state_dict(), places(system)), "CLIP")
