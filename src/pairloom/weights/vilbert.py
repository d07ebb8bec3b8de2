"""ViLBERT as its authors published it: pre-trained on Conceptual Captions (pretrained_model.bin; the beta's pytorch_model_9.bin), and
12-in-1 (multi_task_model.bin).

Facts: stream 1 of a co-attention is the visual one, and its keys and values are those that words read; class 0 of the matching head
is "they belong together", as in our weights. 12-in-1 has a table of tasks and a head for each kind of task, of which two are read:
`vil_logit`, which ranks pictures and texts (it becomes the score of class 0 against nothing), and `vil_prediction`, VQA's list. The
files say nothing of heads: one for 64 columns of words, one for 128 of regions and of both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Place, peek, read, shape_of, take
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.systems.vilbert import Config, System, feed
from pairloom.weights._bert_names import (
    BIAS,
    EMBEDDINGS,
    TIED,
    WORDS,
    Layers,
    answers_beside,
    bert_places,
    count_layers,
    with_tokens,
)

MATCH, RANK = "cls.bi_seq_relationship", "vil_logit"
OTHER_TASKS = (
    "vil_prediction_gqa.", "vil_binary_prediction.", "vil_tri_prediction.", "vision_logit.", "linguisic_logit.", f"{MATCH}.",
)  # fmt: skip
UNUSED = re.compile(r"\.biOutput\.q_dense[12]\.")  # the authors' code never calls them
CROSS = (
    (r"cross\.0\.fn\.query", "biattention.query{own}"),
    (r"cross\.0\.fn\.(key|value)", r"biattention.\g<1>{other}"),
    (r"cross\.0\.fn\.out", "biOutput.dense{own}"),
    (r"cross\.0\.norm", "biOutput.LayerNorm{own}"),
    (r"feed\.0\.fn\.up", "{kind}_intermediate.dense"),
    (r"feed\.0\.fn\.down", "{kind}_output.dense"),
    (r"feed\.0\.norm", "{kind}_output.LayerNorm"),
)
PICTURE_NAMES = (  # InterBERT's too
    (r"regions\.features", "bert.v_embeddings.image_embeddings"),
    (r"regions\.boxes", "bert.v_embeddings.image_location_embeddings"),
    (r"regions\.norm", "bert.v_embeddings.LayerNorm"),
    (r"text_pooler", "bert.t_pooler.dense"),
    (r"match_head", MATCH),
    (r"class_head\.0", "cls.imagePredictions.transform.dense"),
    (r"class_head\.2", "cls.imagePredictions.transform.LayerNorm"),
    (r"class_head\.3", "cls.imagePredictions.decoder"),
)
REST = (
    *((ours, f"bert.{theirs}") for ours, theirs in EMBEDDINGS),
    *WORDS,
    (r"task_rows", "bert.embeddings.task_embeddings"),
    *PICTURE_NAMES,
    (r"visual_pooler", "bert.v_pooler.dense"),
    (r"answer_head\.(.+)", r"vil_prediction.logit_fc.\1"),
)
ALONE = {"language_head.bias": (BIAS,), "text.words.weight": ("bert.embeddings.word_embeddings.weight", TIED)}
STACKS = (
    Layers("text_layers", "bert.encoder.layer"),
    Layers("visual_layers", "bert.encoder.v_layer"),
    *(
        Layers(
            "exchanges",
            "bert.encoder.c_layer",
            [(ours, there.format(**stream)) for ours, there in CROSS],
            f".{side}",
        )
        for side, stream in (
            ("first", dict(own=2, other=1, kind="t")),
            ("second", dict(own=1, other=2, kind="v")),
        )
    ),
)


def sniff(where: Path) -> bool:
    """Whether a path is a file with a co-attention under its published name."""
    return "bert.encoder.c_layer.0.biattention.query1.weight" in (peek(where) if where.is_file() else set())


def load(where: Path) -> Model:
    """Load a .bin file; BERT's vocabulary (bert-base-uncased) is read from its folder or from the local hub cache, the list of VQA's
    answers from its folder. Mistake for missing or unknown tensors."""
    theirs = {name: tensor for name, tensor in read(where).items() if not UNUSED.search(name)}
    about = {"source": f"ViLBERT ({where.name})"}
    if f"{RANK}.weight" in theirs:
        unread = sorted({name.split(".")[0] for name in theirs if name.startswith(OTHER_TASKS[:-1])})
        about["not read"] = f"heads of other tasks ({', '.join(unread)})"
        theirs = _ranking(theirs, where)
    config, tokens = with_tokens(config_of(theirs, where), where)
    config = replace(config, answer_list=answers_beside(where, config.answers))
    system = build_for(theirs, lambda: System(config), where)
    take(theirs, places(system), system.state_dict()).whole(where).into(system)
    regions = replace(feed(config), most=100) if config.tasks else feed(config)
    return Model("vilbert", system.eval(), tokens, regions, about)


def _ranking(theirs: Mapping[str, Tensor], where: Path) -> dict[str, Tensor]:
    """The tensors of 12-in-1 with what ranks pairs as the matching head, and without the heads that are not read."""
    kept = {name: tensor for name, tensor in theirs.items() if not name.startswith(OTHER_TASKS)}
    for kind, axes in (("weight", 2), ("bias", 1)):
        shape_of(theirs, f"{RANK}.{kind}", axes, where, "a 12-in-1")
        score = kept.pop(f"{RANK}.{kind}")
        kept[f"{MATCH}.{kind}"] = torch.cat([score, torch.zeros_like(score)])
    return kept


def config_of(theirs: Mapping[str, Tensor], where: Path) -> Config:
    """The Config that follows from the shapes. Mistake for a feed-forward part of words that is not four times as wide."""

    def shape(name: str) -> tuple[int, ...]:
        return shape_of(theirs, f"{name}.weight", 2, where, "a ViLBERT")

    words, width = shape("bert.embeddings.word_embeddings")
    visual, features = shape("bert.v_embeddings.image_embeddings")
    shared = shape("bert.t_pooler.dense")[0]
    if shape("bert.encoder.layer.0.intermediate.dense")[0] != 4 * width:
        raise Mistake(
            f"{where} is no ViLBERT that is known here.", "Its words have another feed-forward part."
        )
    positions = shape("bert.embeddings.position_embeddings")[0]
    answers, tasks = "vil_prediction.logit_fc.3", "bert.embeddings.task_embeddings"
    return Config(
        features=features, classes=shape("cls.imagePredictions.decoder")[0], vocabulary=words, length=min(36, positions),
        positions=positions, width=width, depth=count_layers(theirs, "bert.encoder.layer."), heads=max(1, width // 64),
        visual_width=visual, visual_depth=count_layers(theirs, "bert.encoder.v_layer."), visual_heads=max(1, visual // 128),
        visual_growth=shape("bert.encoder.v_layer.0.intermediate.dense")[0] / visual,
        exchanges=count_layers(theirs, "bert.encoder.c_layer."), shared_width=shared, shared_heads=max(1, shared // 128),
        answers=shape(answers)[0] if f"{answers}.weight" in theirs else 0,
        tasks=shape(tasks)[0] if f"{tasks}.weight" in theirs else 0,
    )  # fmt: skip


def places(system: System) -> dict[str, Place]:
    """The places of our tensors in a file; the word table is in it twice."""
    return bert_places(system.state_dict(), STACKS, REST, ALONE)
