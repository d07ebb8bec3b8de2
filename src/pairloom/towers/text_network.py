"""BERT-like text encoders: BERT (Devlin et al., 2019), RoBERTa (Liu et al., 2019), XLM-R, MPNet (Song et al., 2020).

They differ in names, in which row of the position table is the first, and in MPNet's relative position bias. How
transformers names the tensors stands at the end.

B texts, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.feed import ACTIVATIONS
from pairloom.blocks.masks import padding
from pairloom.blocks.relative import BucketedBias, biased
from pairloom.blocks.transformer import Stack, TransformerConfig
from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Place, rename
from pairloom.errors import Mistake
from pairloom.towers.pretrained import fill

MODEL_TYPES = ("bert", "roberta", "xlm-roberta", "mpnet")
OFFSET = ("roberta", "xlm-roberta", "mpnet")  # positions begin after the id of the padding token
PREFIXES = r"(0\.auto_model|module|model|bert|roberta|mpnet)\."
DROPPED = ("pooler.", "cls.", "lm_head.", "classifier.", "embeddings.position_ids")


@dataclass(frozen=True)
class TextNetworkConfig:
    """The numbers of a text encoder. positions: most tokens. segments: rows of the token type table, 0 for none. buckets: of
    relative distances, 0 for none."""

    width: int
    depth: int
    heads: int
    hidden: int
    vocabulary: int
    positions: int
    segments: int
    eps: float
    buckets: int = 0


class TextNetwork(nn.Module):
    """Word, position and segment, then a post-norm stack that sees every token: hidden states [B T D]."""

    def __init__(self, config: TextNetworkConfig) -> None:
        super().__init__()
        c = config
        self.embed = TextEmbed(c.vocabulary, c.positions, c.width, c.eps, 0.0, c.segments)
        self.stack = Stack(
            TransformerConfig(c.width, c.depth, c.heads, "post", c.eps, growth=c.hidden / c.width)
        )
        self.bias = BucketedBias(c.heads, c.buckets) if c.buckets else None

    def forward(
        self, tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B T D"]:
        """mask: True = real; None where every token is."""
        visible = None if mask is None else padding(mask)
        if self.bias is not None:
            visible = biased(self.bias(tokens.shape[1], tokens.shape[1]), visible)
        return self.stack(self.embed(tokens), visible)


def build_text_network(
    tensors: Mapping[str, Tensor], document: Mapping[str, Any], where: Path
) -> TextNetwork:
    """The network of transformers' config.json, of one of MODEL_TYPES, with its weights. Mistake where they do not fit each
    other; KeyError, TypeError or ValueError where the config is not whole."""
    kind = str(document["model_type"])
    first = int(document.get("pad_token_id", 1)) + 1 if kind in OFFSET else 0
    config = _config(document, kind, first, where)
    network = build_for(tensors, lambda: TextNetwork(config), where)
    theirs = {re.sub(rf"^({PREFIXES})+", "", _modern(name)): tensor for name, tensor in tensors.items()}
    positions = "embeddings.position_embeddings.weight"
    if positions in theirs:
        theirs[positions] = theirs[positions][first:]
    rules = MPNET if kind == "mpnet" else BERT
    known = {name: Place((rename(name, rules),)) for name in network.state_dict()}
    fill(network, theirs, known, where, DROPPED)
    return network


def is_text(kind: object, names: Collection[str]) -> bool:
    """Whether a config's model type, or the names of a file's tensors, are those of a text tower."""
    return kind in MODEL_TYPES or any(name.endswith("embeddings.word_embeddings.weight") for name in names)


def _config(document: Mapping[str, Any], kind: str, first: int, where: Path) -> TextNetworkConfig:
    activation, style = (
        document.get("hidden_act", "gelu"),
        document.get("position_embedding_type", "absolute"),
    )
    if activation not in ACTIVATIONS or style != "absolute":
        raise Mistake(
            f"The text tower in {where} is of a kind that is not known here.",
            f"Its activation is '{activation}', its positions are '{style}'.",
            "Give one with 'gelu' and 'absolute'.",
        )
    return TextNetworkConfig(
        document["hidden_size"],
        document["num_hidden_layers"],
        document["num_attention_heads"],
        document["intermediate_size"],
        document["vocab_size"],
        document["max_position_embeddings"] - first,
        0 if kind == "mpnet" else document["type_vocab_size"],
        document["layer_norm_eps"],
        document.get("relative_attention_num_buckets", 32) if kind == "mpnet" else 0,
    )


def _modern(name: str) -> str:
    """Old files call the weight of a norm gamma and its bias beta."""
    return re.sub(
        r"LayerNorm\.beta$", "LayerNorm.bias", re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
    )


KIND = r"(weight|bias)"
LAYER = r"stack\.layers\.(\d+)\."
COMMON = [
    (r"embed\.words\.weight", "embeddings.word_embeddings.weight"),
    (r"embed\.positions\.weight", "embeddings.position_embeddings.weight"),
    (r"embed\.segments\.weight", "embeddings.token_type_embeddings.weight"),
    (rf"embed\.norm\.{KIND}", r"embeddings.LayerNorm.\1"),
    (rf"{LAYER}feed\.0\.fn\.up\.{KIND}", r"encoder.layer.\1.intermediate.dense.\2"),
    (rf"{LAYER}feed\.0\.fn\.down\.{KIND}", r"encoder.layer.\1.output.dense.\2"),
    (rf"{LAYER}feed\.0\.norm\.{KIND}", r"encoder.layer.\1.output.LayerNorm.\2"),
]
BERT = [
    *COMMON,
    (rf"{LAYER}attend\.0\.fn\.(query|key|value)\.{KIND}", r"encoder.layer.\1.attention.self.\2.\3"),
    (rf"{LAYER}attend\.0\.fn\.out\.{KIND}", r"encoder.layer.\1.attention.output.dense.\2"),
    (rf"{LAYER}attend\.0\.norm\.{KIND}", r"encoder.layer.\1.attention.output.LayerNorm.\2"),
]
MPNET = [
    *COMMON,
    (rf"{LAYER}attend\.0\.fn\.(q|k|v|o)\w+\.{KIND}", r"encoder.layer.\1.attention.attn.\2.\3"),
    (rf"{LAYER}attend\.0\.norm\.{KIND}", r"encoder.layer.\1.attention.LayerNorm.\2"),
    (r"bias\.table\.weight", "encoder.relative_attention_bias.weight"),
]
