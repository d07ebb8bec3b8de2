"""LXMERT as transformers saves it (LxmertForPreTraining, LxmertForQuestionAnswering), and the authors' own file of pre-trained
weights (model_LXRT.pth).

Facts: the authors' names begin with "bert." where transformers' begin with "lxmert."; the word table is in some files twice, as
the decoder of masked words. transformers multiplies the losses of regions by 6.67, the authors and we by 1 / 0.15. No file holds
the texts of the answers: the authors publish them as trainval_label2ans.json, which is read where it lies beside the weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Place, give, peek, read, shape_of, take
from pairloom.checkpoints.settings import JsonSettings
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.systems.lxmert import Config, System, feed
from pairloom.weights._bert_names import (
    BIAS,
    EMBEDDINGS,
    LISTS,
    TIED,
    WORDS,
    Layers,
    answers_beside,
    bert_places,
    count_layers,
    with_tokens,
)
from pairloom.weights._transformers import holds, tokens_of, weights_of, write

WRITES, SYSTEM = "transformers", "lxmert"
BODY = "lxmert."
# our names of a part of a layer of both streams -> theirs; {} is the stream, "lang" or "visn"
CROSS = (
    (r"cross\.0\.fn\.(query|key|value)", r"visual_attention.att.\1"),
    (r"cross\.0\.fn\.out", "visual_attention.output.dense"),
    (r"cross\.0\.norm", "visual_attention.output.LayerNorm"),
    (r"attend\.0\.fn\.(query|key|value)", r"{}_self_att.self.\1"),
    (r"attend\.0\.fn\.out", "{}_self_att.output.dense"),
    (r"attend\.0\.norm", "{}_self_att.output.LayerNorm"),
    (r"feed\.0\.fn\.up", "{}_inter.dense"),
    (r"feed\.0\.fn\.down", "{}_output.dense"),
    (r"feed\.0\.norm", "{}_output.LayerNorm"),
)
REST = (
    *((ours, f"{BODY}{theirs}") for ours, theirs in EMBEDDINGS),
    *WORDS,
    (r"regions\.features", f"{BODY}encoder.visn_fc.visn_fc"),
    (r"regions\.features_norm", f"{BODY}encoder.visn_fc.visn_layer_norm"),
    (r"regions\.boxes", f"{BODY}encoder.visn_fc.box_fc"),
    (r"regions\.boxes_norm", f"{BODY}encoder.visn_fc.box_layer_norm"),
    (r"pooler", f"{BODY}pooler.dense"),
    (r"match_head", "cls.seq_relationship"),
    (r"region_heads\.transform\.0", "obj_predict_head.transform.dense"),
    (r"region_heads\.transform\.2", "obj_predict_head.transform.LayerNorm"),
    (r"region_heads\.features", "obj_predict_head.decoder_dict.feat"),
    (r"region_heads\.objects", "obj_predict_head.decoder_dict.obj"),
    (r"region_heads\.attributes", "obj_predict_head.decoder_dict.attr"),
    (r"answer_head\.(.+)", r"answer_head.logit_fc.\1"),
)
ALONE = {
    "language_head.bias": (BIAS,),
    "text.words.weight": (f"{BODY}embeddings.word_embeddings.weight", TIED),
}
STACKS = (
    Layers("language.layers", f"{BODY}encoder.layer"),
    Layers("relations.layers", f"{BODY}encoder.r_layers"),
    *(
        Layers(
            "exchanges",
            f"{BODY}encoder.x_layers",
            [(ours, there.format(stream)) for ours, there in CROSS],
            f".{side}",
        )
        for side, stream in (("first", "lang"), ("second", "visn"))
    ),
)


def sniff(where: Path) -> bool:
    """Whether a path is a folder whose config has the model type "lxmert", or a file of the authors' pre-trained weights."""
    if where.is_dir():
        return holds(where, "lxmert")
    return any(name.startswith("bert.encoder.x_layers.0.visual_attention.") for name in peek(where))


def load(where: Path, adapters: Path | None = None) -> Model:
    """Load a folder of transformers, or the authors' file. adapters: a folder of peft's, which are added to its weights. Mistake for
    a file without a head that can be asked, and for missing or unknown tensors."""
    theirs = {
        re.sub(r"^bert\.", BODY, name): tensor
        for name, tensor in (weights_of(where, adapters) if where.is_dir() else read(where)).items()
    }
    settings = JsonSettings.read(where / "config.json") if where.is_dir() else None
    config = config_of(theirs, settings, where)
    config, tokens = with_tokens(config, where, tokens_of(where) if where.is_dir() else None)
    config = replace(config, answer_list=answers_beside(where, config.answers))
    system = build_for(theirs, lambda: System(config), where)
    take(theirs, places(system), system.state_dict()).whole(where).into(system)
    about = {"source": f"LXMERT ({where.name})"}
    return Model("lxmert", system.eval(), tokens, feed(config), about)


def config_of(theirs: Mapping[str, Tensor], settings: JsonSettings | None, where: Path) -> Config:
    """The Config that follows from the shapes; the number of heads from the settings, or one for 64 columns. Mistake for a model
    without any head, and for settings that are not supported."""
    if f"{BODY}embeddings.word_embeddings.weight" not in theirs:
        raise Mistake(
            f"{where} is not an LXMERT that can be asked anything.",
            "The bare LxmertModel has no heads.",
            "Give a folder of LxmertForPreTraining or LxmertForQuestionAnswering.",
        )

    def shape(name: str) -> tuple[int, ...]:
        return shape_of(theirs, name, 2, where, "an LXMERT")

    words, width = shape(f"{BODY}embeddings.word_embeddings.weight")
    features = shape(f"{BODY}encoder.visn_fc.visn_fc.weight")[1]
    positions = shape(f"{BODY}embeddings.position_embeddings.weight")[0]
    heads = max(1, width // 64)
    if settings is not None:
        heads = settings.whole("num_attention_heads", 12)
        settings.text("hidden_act", "gelu", ("gelu",))
        if settings.whole("intermediate_size", 4 * width) != 4 * width:
            settings.refuse("intermediate_size", f"{4 * width}, four times the hidden size")

    def rows(name: str) -> int:
        return shape(name)[0] if name in theirs else 0

    matches, answers = "cls.seq_relationship.weight" in theirs, rows("answer_head.logit_fc.3.weight")
    attributes = rows("obj_predict_head.decoder_dict.attr.weight")
    return Config(
        vocabulary=words, length=min(20, positions), positions=positions, width=width, heads=heads, features=features,
        depth=count_layers(theirs, f"{BODY}encoder.layer."), region_depth=count_layers(theirs, f"{BODY}encoder.r_layers."),
        cross_depth=count_layers(theirs, f"{BODY}encoder.x_layers."),
        classes=rows("obj_predict_head.decoder_dict.obj.weight") + 1, attributes=attributes + 1 if attributes else 0,
        answers=answers, matches=matches,
    )  # fmt: skip


def places(system: System) -> dict[str, Place]:
    """The places of our tensors in the layout. Mistake for a model of statements, for which transformers has no class."""
    if system.config.pictures:
        raise Mistake("transformers has no LXMERT for statements.", "Its NLVR2 model was never converted.")
    return bert_places(system.state_dict(), STACKS, REST, ALONE)


def export(model: Model, out: Path) -> None:
    """Export a folder that LxmertForPreTraining loads, or LxmertForQuestionAnswering where the model only answers; the list of its
    answers beside it, where there is one."""
    c = model.config
    tensors = give(model.system.state_dict(), places(model.system))
    tensors.pop(TIED)
    kind = "LxmertForPreTraining" if c.matches else "LxmertForQuestionAnswering"
    config: dict[str, Any] = {
        "architectures": [kind], "model_type": "lxmert", "dtype": "float32", "vocab_size": c.vocabulary,
        "hidden_size": c.width, "num_attention_heads": c.heads, "intermediate_size": 4 * c.width, "hidden_act": "gelu",
        "max_position_embeddings": c.positions, "type_vocab_size": 2, "l_layers": c.depth, "r_layers": c.region_depth,
        "x_layers": c.cross_depth, "visual_feat_dim": c.features, "visual_pos_dim": 4, "num_object_labels": c.classes - 1,
        "num_attr_labels": max(0, c.attributes - 1), "visual_attr_loss": bool(c.attributes), "num_qa_labels": c.answers,
        "task_qa": bool(c.answers), "hidden_dropout_prob": c.dropout, "attention_probs_dropout_prob": c.dropout,
        "visual_loss_normalizer": 1 / 0.15, "pad_token_id": c.pad,
    }  # fmt: skip
    beside = {LISTS[0]: list(c.answer_list)} if c.answer_list else {}
    write(model, out, config, tensors, "", beside)
