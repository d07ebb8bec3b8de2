"""CLIP as transformers saves it (CLIPModel): config.json, model.safetensors or pytorch_model.bin, tokenizer, processor.

Facts: query, key and value are separate; `pre_layrnorm` has this spelling; eos_token_id 2 is an old mistake of the configs
and means the highest id; the pooled row is that of the first end token. transformers has only the ViT image tower.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pairloom.checkpoints.layout import Place, give, read, rename, take
from pairloom.errors import Mistake
from pairloom.model import Model, read_json
from pairloom.systems.clip import Config, System
from pairloom.weights._transformers import holds, part, pixels_of, tokens_of, write
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


def load(where: Path) -> Model:
    """Load a folder of transformers. Mistake for missing or unknown tensors, and for another tokenizer."""
    config = config_of(read_json(where / "config.json"), where)
    tokens = tokens_of(where)
    padded = config.vocabulary - tokens.size  # rows that nothing reads, up to a round number
    theirs = {name: tensor for name, tensor in read(where).items() if not name.endswith("position_ids")}
    if 0 < padded < PADDING and config.vocabulary % 8 == 0 and WORDS in theirs:
        config = replace(config, vocabulary=tokens.size)
        theirs[WORDS] = theirs[WORDS][: tokens.size]
    if (
        tokens.size > LEGACY_END
        and read_json(where / "config.json").get("text_config", {}).get("eos_token_id") == LEGACY_END
    ):
        config = replace(config, sep=tokens.sep, pad=tokens.sep)
    check_tokens(tokens, config, where)
    system = System(config)
    take(theirs, places(system), system.state_dict()).whole(where).into(system)
    about = {"source": f"transformers CLIPModel ({where.name})"}
    return Model("clip", system.eval(), tokens, pixels_of(where, config.image_size, "CLIP"), about)


def config_of(document: Mapping[str, Any], where: Path) -> Config:
    """The Config of a config.json. Mistake where the towers differ in a setting that is the same for both here."""
    text, image = part(document, "text_config", TEXT), part(document, "vision_config", IMAGE)
    for name in ("hidden_act", "layer_norm_eps"):
        if text[name] != image[name]:
            raise Mistake(f"The towers in {where} differ in {name}.", f"{text[name]} and {image[name]}.", "")
    if text["hidden_act"] not in ("gelu", "quick_gelu"):
        raise Mistake(
            f"The activation '{text['hidden_act']}' in {where} is not supported.",
            "Supported are gelu and quick_gelu.",
        )
    words, end = text["vocab_size"], text["eos_token_id"]
    end = words - 1 if end == LEGACY_END else end
    return Config(
        image_size=image["image_size"], patch=image["patch_size"], image_width=image["hidden_size"],
        image_depth=image["num_hidden_layers"], image_heads=image["num_attention_heads"],
        image_growth=image["intermediate_size"] / image["hidden_size"], vocabulary=words,
        length=text["max_position_embeddings"], width=text["hidden_size"], depth=text["num_hidden_layers"],
        heads=text["num_attention_heads"], growth=text["intermediate_size"] / text["hidden_size"],
        embedding=document.get("projection_dim", 512), activation=text["hidden_act"], eps=text["layer_norm_eps"],
        pad=end, cls=text["bos_token_id"], sep=end,
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
