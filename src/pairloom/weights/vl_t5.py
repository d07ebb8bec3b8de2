"""VL-T5 as its authors published it (VLT5/Epoch30.pth, Epoch30_LXRT.pth, and fine-tuned by their code). VL-BART is refused by name.

Facts: T5's names, and an embedding of regions in the encoder, which older files call vis_encoder. One table is the words, what a
region is called and the last matrix. The vocabulary is T5's and 100 names of regions behind it, counted from the end. T5 writes no
token before a text; <pad>, with which its decoder begins, stands there here. A task is the words before its source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, processors
from torch import Tensor

from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Place, peek, read, shape_of, take
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.model.generation import Generation
from pairloom.systems.vl_t5 import Config, System, feed
from pairloom.weights._bert_names import count_layers
from pairloom.weights._hub import tokens_near

MARK = "encoder.visual_embedding.feat_embedding.0.weight"
BART = "final_logits_bias"
NAMES = 100  # of regions, behind T5's own 32,100 words
SOURCES = {
    "caption_source": "caption:", "match_source": "image text match:", "span_source": "span prediction:",
    "question_source": "vqa:",
}  # fmt: skip
TABLE = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight",
         "encoder.visual_embedding.obj_order_embedding.weight")  # fmt: skip
BIAS = "block.0.layer.0.SelfAttention.relative_attention_bias.weight"
ALONE = {
    "encoder_norm.weight": "encoder.final_layer_norm.weight",
    "norm.weight": "decoder.final_layer_norm.weight",
    "bias.table.weight": f"encoder.{BIAS}",
    "past_bias.table.weight": f"decoder.{BIAS}",
    "regions.pictures.weight": "encoder.visual_embedding.img_order_embedding.weight",
}
REGIONS = {
    "features": "feat_embedding.0",
    "features_norm": "feat_embedding.1",
    "boxes": "absolute_vis_pos_embedding.0",
    "boxes_norm": "absolute_vis_pos_embedding.1",
}
PARTS = {"query": "q", "key": "k", "value": "v", "out": "o", "up": "wi", "down": "wo"}
KINDS = {"attend": "SelfAttention", "cross": "EncDecAttention", "feed": "DenseReluDense"}


def sniff(where: Path) -> bool:
    """Whether a path is a file with an embedding of regions in the encoder of a T5 or a BART."""
    names = peek(where) if where.is_file() else set()
    return any(name.replace("vis_encoder.", "encoder.").endswith(MARK) for name in names)


def load(where: Path) -> Model:
    """Load a .pth file; T5's vocabulary (tokenizer.json or spiece.model of t5-base) is read from its folder, or from the local hub
    cache. Mistake for a VL-BART, and for missing or unknown tensors."""
    theirs = {re.sub(r"^vis_encoder\.", "encoder.", name): tensor for name, tensor in read(where).items()}
    if MARK not in theirs or BART in theirs:
        raise Mistake(
            f"{where} is a VL-BART.",
            "Its BART is not built here; the authors found it on a par, and at a loss to name regions.",
            "Take their VL-T5.",
        )
    config = config_of(theirs, where)
    tokens = _with_regions(tokens_near(where.parent, "t5"), config.vocabulary, where)
    ids: dict[str, Any] = dict(pad=tokens.pad, start=tokens.pad, cls=tokens.cls, sep=tokens.sep)
    ids |= {name: tuple(tokens.bare([words])[0]) for name, words in SOURCES.items()}
    ids |= {word: tokens.bare([word])[0][0] for word in ("true", "false")}
    config = replace(config, **ids)
    system = build_for(theirs, lambda: System(config), where)
    take(theirs, places(system), system.state_dict()).whole(where).into(system)
    about, written = {"source": f"VL-T5 ({where.name})"}, Generation(beams=5, min_length=0, max_length=20)
    return Model("vl_t5", system.eval(), tokens, feed(config), about, written)


def _with_regions(tokens: Tokens, words: int, where: Path) -> Tokens:
    """T5's vocabulary with the names of regions behind it, that of the first region last, and <pad> before every text. Mistake where it
    has not as many words as the weights."""
    tokenizer = Tokenizer.from_str(tokens.tokenizer.to_str())
    names = [f"<vis_extra_id_{number}>" for number in reversed(range(NAMES))]
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in names])
    ends = {name: tokenizer.token_to_id(name) for name in ("<pad>", "</s>")}
    if None in ends.values() or tokenizer.get_vocab_size() != words:
        raise Mistake(
            f"The tokenizer for {where} is another model's.",
            f"With {NAMES} names of regions it has {tokenizer.get_vocab_size()} tokens, the weights have {words}.",
            "Put back the vocabulary that was published with the weights (t5-base).",
        )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<pad> $A </s>", pair="<pad> $A </s> $B </s>", special_tokens=list(ends.items())
    )
    return Tokens(tokenizer)


def config_of(theirs: Mapping[str, Tensor], where: Path) -> Config:
    """The Config that follows from the shapes."""

    def shape(name: str) -> tuple[int, ...]:
        return shape_of(theirs, f"{name}.weight", 2, where, "a VL-T5")

    words, width = shape("shared")
    buckets, heads = shape(f"encoder.{BIAS}".removesuffix(".weight"))
    return Config(
        features=shape(MARK.removesuffix(".weight"))[1], vocabulary=words, sentinels=NAMES, width=width, buckets=buckets,
        heads=heads, inside=shape("encoder.block.0.layer.0.SelfAttention.q")[0],
        hidden=shape("encoder.block.0.layer.1.DenseReluDense.wi")[0], depth=count_layers(theirs, "encoder.block."),
    )  # fmt: skip


def places(system: System) -> dict[str, Place]:
    """The places of our tensors in a file."""
    return {name: Place(_theirs(name)) for name in system.state_dict()}


def _theirs(name: str) -> tuple[str, ...]:
    if name == "words.weight":
        return TABLE
    if name in ALONE:
        return (ALONE[name],)
    stem, _, kind = name.rpartition(".")
    if stem.startswith("regions."):
        return (f"encoder.visual_embedding.{REGIONS[stem.removeprefix('regions.')]}.{kind}",)
    one = re.fullmatch(r"(encoder|decoder)\.layers\.(\d+)\.(attend|cross|feed)\.0\.(?:fn\.(\w+)|norm)", stem)
    assert one, name
    at = {"attend": 0, "cross": 1, "feed": 1 if one[1] == "encoder" else 2}[one[3]]
    part = f"{KINDS[one[3]]}.{PARTS[one[4]]}" if one[4] else "layer_norm"
    return (f"{one[1]}.block.{one[2]}.layer.{at}.{part}.{kind}",)
