"""BLIP-2's first stage as transformers saves it (Blip2ForImageTextRetrieval). Its captioners (Blip2ForConditionalGeneration, with an
OPT or a T5) are refused by name.

Facts: query, key and value of the image tower are fused; a layer of the querying transformer has feed-forward parts for the text
(`intermediate`, `output`) and for the queries (`..._query`); the norm before it is that of both. A text begins with [CLS] for both
scores. The word table has a row for [DEC], and none for [ENC] or `<image>`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Place, rename, take
from pairloom.checkpoints.settings import JsonSettings
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.systems.blip2 import CLEAN, Config, System
from pairloom.weights._transformers import holds, pixels_of, tokens_of, weights_of

CLASS = "Blip2ForImageTextRetrieval"
SPARE = 2  # words that a tokenizer has beyond the word table: [ENC] and <image>
IMAGE = dict(
    hidden_size=1408, intermediate_size=6144, num_hidden_layers=39, num_attention_heads=16, image_size=224, patch_size=14,
    hidden_act="gelu", layer_norm_eps=1e-6, qkv_bias=True,
)  # fmt: skip
QFORMER = dict(
    vocab_size=30522, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072,
    hidden_act="gelu", max_position_embeddings=512, layer_norm_eps=1e-12, cross_attention_frequency=2,
)  # fmt: skip
LAYER, INSIDE = r"image\.stack\.layers\.(\d+)\.", r"qformer\.layers\.(\d+)\."
RULES = [
    (r"queries", "query_tokens"),
    (r"embed\.words\.(.+)", r"embeddings.word_embeddings.\1"),
    (r"embed\.positions\.(.+)", r"embeddings.position_embeddings.\1"),
    (r"norm\.(.+)", r"qformer.layernorm.\1"),
    (r"image_projection\.(.+)", r"vision_projection.\1"),
    (r"text_projection\.(.+)", r"text_projection.\1"),
    (r"match_head\.(.+)", r"itm_head.\1"),
    (r"image\.embed\.class_row", "vision_model.embeddings.class_embedding"),
    (r"image\.embed\.positions", "vision_model.embeddings.position_embedding"),
    (r"image\.embed\.patch\.(.+)", r"vision_model.embeddings.patch_embedding.\1"),
    (r"image\.norm\.(.+)", r"vision_model.post_layernorm.\1"),
    *(
        (LAYER + ours, rf"vision_model.encoder.layers.\1.{there}")
        for ours, there in (
            (r"attend\.0\.fn\.(?:query|key|value)\.(.+)", r"self_attn.qkv.\2"),
            (r"attend\.0\.fn\.out\.(.+)", r"self_attn.projection.\2"),
            (r"attend\.0\.norm\.(.+)", r"layer_norm1.\2"),
            (r"feed\.0\.norm\.(.+)", r"layer_norm2.\2"),
            (r"feed\.0\.fn\.up\.(.+)", r"mlp.fc1.\2"),
            (r"feed\.0\.fn\.down\.(.+)", r"mlp.fc2.\2"),
        )
    ),
    *(
        (INSIDE + ours, rf"qformer.encoder.layer.\1.{there}")
        for ours, there in (
            *(
                pair
                for part, name in (("attend", "attention"), ("cross", "crossattention"))
                for pair in (
                    (rf"{part}\.0\.fn\.(query|key|value)\.(.+)", rf"{name}.attention.\2.\3"),
                    (rf"{part}\.0\.fn\.out\.(.+)", rf"{name}.output.dense.\2"),
                    (rf"{part}\.0\.norm\.(.+)", rf"{name}.output.LayerNorm.\2"),
                )
            ),
            *(
                pair
                for at, end in ((0, ""), (1, "_query"))
                for pair in (
                    (rf"feed\.{at}\.fn\.up\.(.+)", rf"intermediate{end}.dense.\2"),
                    (rf"feed\.{at}\.fn\.down\.(.+)", rf"output{end}.dense.\2"),
                    (rf"feed\.{at}\.norm\.(.+)", rf"output{end}.LayerNorm.\2"),
                )
            ),
        )
    ),
]


def sniff(where: Path) -> bool:
    """Whether a path is a folder whose config has the model type "blip-2"."""
    return holds(where, "blip-2")


def load(where: Path, adapters: Path | None = None) -> Model:
    """Load a folder of transformers. adapters: a folder of peft's, which are added to its weights. Mistake for a captioner, for missing
    or unknown tensors, and for another tokenizer."""
    settings = JsonSettings.read(where / "config.json")
    theirs = weights_of(where, adapters)
    if not any(name.startswith("itm_head.") for name in theirs):
        kind = next(iter(settings.texts("architectures")), "BLIP-2 of another class")
        raise Mistake(
            f"{where} is a {kind}: it writes through a language model, and cannot be read here.",
            "Of BLIP-2 the model that matches and compares is read, without a language model.",
            f"Give a {CLASS}, such as Salesforce/blip2-itm-vit-g, or a BLIP captioner.",
        )
    config, tokens = config_of(settings), tokens_of(where, CLEAN)
    if not 0 <= tokens.size - config.vocabulary <= SPARE:
        why = f"It has {tokens.size} tokens, the weights have {config.vocabulary}."
        what = f"The tokenizer in {where} is another model's."
        raise Mistake(what, why, "Put back the tokenizer that was published with the weights.")
    config = replace(config, vocabulary=tokens.size, pad=tokens.pad, cls=tokens.cls, sep=tokens.sep)
    system = build_for(theirs, lambda: System(config), where / "config.json")
    known = {name: tensor for name, tensor in theirs.items() if not name.endswith("position_ids")}
    places = {name: _place(name) for name in system.state_dict() if name != "batches"}
    take(known, places, system.state_dict()).whole(where, ("temperature",)).into(system)
    about = {"source": f"transformers {CLASS} ({where.name})"}
    return Model("blip2", system.eval(), tokens, pixels_of(where, config.image_size, "Blip"), about)


def _place(name: str) -> Place:
    if name == "temperature":  # which no file has
        return Place((name,))
    fused = re.fullmatch(LAYER + r"attend\.0\.fn\.(query|key|value)\..+", name)
    return Place(
        (rename(name, RULES),), ("query", "key", "value").index(fused[2]) if fused is not None else None
    )


def config_of(settings: JsonSettings) -> Config:
    """The Config of a config.json. Mistake for a setting that is not supported."""
    image = settings.inner("vision_config").over(IMAGE)
    text = settings.inner("qformer_config").over(QFORMER)
    for part, eps in ((image, 1e-6), (text, 1e-12)):
        part.text("hidden_act", among=("gelu",))
        if part.number("layer_norm_eps") != eps:
            part.refuse("layer_norm_eps", f"{eps:g}")
    if not image.flag("qkv_bias"):
        image.refuse("qkv_bias", "true")
    width, inside = image.whole("hidden_size"), text.whole("hidden_size")
    sizes: dict[str, Any] = dict(
        image_size=image.whole("image_size"), patch=image.whole("patch_size"), image_width=width,
        image_depth=image.whole("num_hidden_layers"), image_heads=image.whole("num_attention_heads"),
        image_growth=image.whole("intermediate_size") / width, vocabulary=text.whole("vocab_size"),
        positions=text.whole("max_position_embeddings"), width=inside, depth=text.whole("num_hidden_layers"),
        heads=text.whole("num_attention_heads"), growth=text.whole("intermediate_size") / inside,
        queries=settings.whole("num_query_tokens", 32), every=text.whole("cross_attention_frequency"),
        embedding=settings.whole("image_text_hidden_size", 256),
    )  # fmt: skip
    return Config(**sizes, length=min(32, sizes["positions"]))
