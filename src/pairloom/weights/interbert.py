"""InterBERT as its authors published it: pre-trained on Conceptual Captions (black4321/InterBERT, pytorch_model_*.bin).

Facts: names are ViLBERT's; the layers of both modalities and those of the text behind them are numbered in one list, the latter as many
as the layers of the image stream. Class 0 of the matching head is "they belong together", as in our weights. The file says nothing
of heads: one for 64 columns, in the image stream for 96.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Place, peek, read, shape_of, take
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.systems.interbert import Config, System, feed
from pairloom.weights._bert_names import (
    EMBEDDINGS,
    WORDS,
    Layers,
    bert_places,
    count_layers,
    with_tokens,
)
from pairloom.weights.vilbert import ALONE, PICTURE_NAMES

MARK, EXCHANGE = "bert.encoder.v_layer.0.attention.self.query.weight", "bert.encoder.c_layer."
REST = (
    *((ours, f"bert.{theirs}") for ours, theirs in EMBEDDINGS),
    *WORDS,
    *PICTURE_NAMES,
    (r"visual_pooler", "bert.v_pooler.dense"),
)


def sniff(where: Path) -> bool:
    """Whether a path is a file with an image stream under ViLBERT's names, and no exchange."""
    names = peek(where) if where.is_file() else set()
    return MARK in names and not any(name.startswith(EXCHANGE) for name in names)


def load(where: Path) -> Model:
    """Load a .bin file; BERT's vocabulary (bert-base-uncased) is read from its folder or from the local hub cache. Mistake for a model of
    another task, and for missing or unknown tensors."""
    theirs = read(where)
    config, tokens = with_tokens(config_of(theirs, where), where)
    system = build_for(theirs, lambda: System(config), where)
    take(theirs, places(system), system.state_dict()).whole(where).into(system)
    return Model("interbert", system.eval(), tokens, feed(config), {"source": f"InterBERT ({where.name})"})


def config_of(theirs: Mapping[str, Tensor], where: Path) -> Config:
    """The Config that follows from the shapes. Mistake where there are fewer layers in the list than the image stream has."""

    def shape(name: str) -> tuple[int, ...]:
        return shape_of(theirs, f"{name}.weight", 2, where, "an InterBERT")

    words, width = shape("bert.embeddings.word_embeddings")
    positions = shape("bert.embeddings.position_embeddings")[0]
    listed, stream = (count_layers(theirs, f"bert.encoder.{kind}.") for kind in ("layer", "v_layer"))
    if listed <= stream:
        raise Mistake(
            f"{where} is no InterBERT that is known here.",
            f"It has {listed} layers for {stream} of pictures.",
        )
    return Config(
        vocabulary=words, length=min(36, positions), positions=positions, width=width, heads=max(1, width // 64),
        depth=listed - stream, stream_depth=stream, image_heads=max(1, width // 96),
        features=shape("bert.v_embeddings.image_embeddings")[1], classes=shape("cls.imagePredictions.decoder")[0],
        pooled=shape("bert.t_pooler.dense")[0],
    )  # fmt: skip


def places(system: System) -> dict[str, Place]:
    """The places of our tensors in a file; the word table is in it twice."""
    stacks = (
        Layers("interaction.layers", "bert.encoder.layer"),
        Layers("text_stream.layers", "bert.encoder.layer", first=system.config.depth),
        Layers("image_stream.layers", "bert.encoder.v_layer"),
    )
    return bert_places(system.state_dict(), stacks, REST, ALONE)
