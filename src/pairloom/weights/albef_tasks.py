"""ALBEF fine-tuned for questions (vqa.pth) and for statements about two pictures, as its authors published it; for the latter they
published what fine-tuning begins with (pretrain_model_nlvr.pth).

Facts: the decoder of questions has BERT's names behind "text_decoder.". A file of statements has each fusion layer twice, with one key
and value map for both, which are in the file twice; after text assignment it has the head of that task in place of a classifier.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Place, peek, read, shape_of, take
from pairloom.data.transform import Transform
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.systems import albef_nlvr, albef_vqa
from pairloom.weights import albef
from pairloom.weights._bert_names import count_layers, silence_spare_words, with_tokens
from pairloom.weights.salesforce import EXTRA, fuses_late, sizes_of, text_name

DECODER = "text_decoder."
CLASSES = "cls_head.2.weight"
ASSIGNMENT = ("ta_head.", "vision_proj.", "text_proj.", "temp")  # what text assignment learned and drew by
HEAD = {
    "head.dense": f"{DECODER}cls.predictions.transform.dense",
    "head.norm": f"{DECODER}cls.predictions.transform.LayerNorm",
    "head.0": "cls_head.0",
    "head.2": "cls_head.2",
}
ALONE = {
    "head.bias": (f"{DECODER}cls.predictions.bias", f"{DECODER}cls.predictions.decoder.bias"),
    "answer.embed.0.words.weight": (
        f"{DECODER}bert.embeddings.word_embeddings.weight", f"{DECODER}cls.predictions.decoder.weight",
    ),
}  # fmt: skip


def sniff(where: Path) -> bool:
    """Whether a path is a file with ALBEF's towers and the heads of one of these tasks."""
    names = peek(where) if where.is_file() else set()
    return "visual_encoder.cls_token" in names and fuses_late(names) and albef.of_a_task(names)


def load(where: Path) -> Model:
    """Load a .pth file; BERT's vocabulary is read from its folder or from the local hub cache. After text assignment alone it can be
    asked nothing: it is what training starts from. Mistake for another classifier, and for missing or unknown tensors."""
    theirs = {
        albef.WHOLE.sub("text_encoder.bert.", name): tensor
        for name, tensor in read(where).items()
        if not EXTRA.search(name)
    }
    if any(name.startswith("ta_head.") for name in theirs):
        theirs = {name: tensor for name, tensor in theirs.items() if not name.startswith(ASSIGNMENT)}
    questions = any(name.startswith(DECODER) for name in theirs)
    module: Any = albef_vqa if questions else albef_nlvr
    config, tokens = with_tokens((_questions if questions else _statements)(theirs, where), where)
    system: Any = build_for(theirs, lambda: module.System(config), where)
    lacking = () if questions or config.judges else ("head.",)
    take(theirs, places(system), system.state_dict()).whole(where, lacking).into(system)
    if questions:
        silence_spare_words(system.head, len(theirs[ALONE["head.bias"][0]]))
    about = {"source": f"ALBEF ({where.name})"}
    name = module.__name__.rpartition(".")[2]
    return Model(name, system.eval(), tokens, Transform(config.image_size), about)


def _sizes(theirs: Mapping[str, Tensor], where: Path) -> tuple[dict[str, Any], int]:
    """The sizes of the towers that follow from the shapes, and the number of layers that read pictures."""
    sizes = sizes_of(theirs, where, "text_encoder.bert.", None)
    layers = range(sizes["depth"])
    name = "text_encoder.bert.encoder.layer.{}.crossattention.self.query.weight"
    upper = sum(name.format(layer) in theirs for layer in layers)
    drop = ("dec", "enc", "depth")
    return {key: value for key, value in sizes.items() if key not in drop} | {
        "depth": len(layers) - upper
    }, upper


def _questions(theirs: Mapping[str, Tensor], where: Path) -> albef_vqa.Config:
    sizes, upper = _sizes(theirs, where)
    return albef_vqa.Config(
        **sizes, fusion_depth=upper, answer_depth=count_layers(theirs, f"{DECODER}bert.encoder.layer."),
        length=min(50, sizes["positions"]), answer_length=min(40, sizes["positions"]),
    )  # fmt: skip


def _statements(theirs: Mapping[str, Tensor], where: Path) -> albef_nlvr.Config:
    """Mistake for a classifier of other than two classes, or of one picture (visual entailment)."""
    sizes, upper = _sizes(theirs, where)
    judges = any(name.startswith("cls_head.") for name in theirs)
    classes = shape_of(theirs, CLASSES, 2, where, "an ALBEF")[0] if judges else 2
    if classes != 2 or upper % 2 or upper <= sizes["depth"]:
        raise Mistake(
            f"{where} is an ALBEF of another task.",
            f"It has {classes} classes and {upper} layers that read pictures.",
            "Pre-trained models, and those for retrieval, VQA and NLVR2 can be loaded.",
        )
    return albef_nlvr.Config(
        **sizes, fusion_depth=upper // 2, length=min(30, sizes["positions"]), judges=judges
    )


def places(system: Any) -> dict[str, Place]:
    """The places of our tensors in a file of the task."""
    return {name: _place(name, system.config) for name in system.state_dict()}


def _place(name: str, config: Any) -> Place:
    stem, _, kind = name.rpartition(".")
    if name in ALONE:
        return Place(ALONE[name])
    if stem in HEAD:
        return Place((f"{HEAD[stem]}.{kind}",))
    if stem == "answer.embed.0.segments":
        return Place((f"{DECODER}bert.embeddings.token_type_embeddings.{kind}",))
    if one := re.fullmatch(r"answer\.(?:stack\.layers\.(\d+)\.)?(\w+)\.0\.(.+)", stem):
        return Place((f"{DECODER}bert.{text_name(one[1], f'{one[2]}.{one[3]}', kind)}",))
    if one := re.fullmatch(r"fusion\.layers\.(\d+)(\.cross\.0\.fn\.(?:key|value)\..+)", name):
        both = int(one[1]) // (pictures := getattr(config, "pictures", 1)) * pictures
        twins = (f"towers.fusion.layers.{both + at}{one[2]}" for at in range(pictures))
        return Place(tuple(there for twin in twins for there in albef.place(twin, config.depth).names))
    return albef.place(f"towers.{name}", config.depth)
