"""UNITER as its authors published it: pre-trained (uniter-base.pt, uniter-large.pt), and fine-tuned for VQA by their code.

Facts: the vocabulary is BERT's, cased; the projection of features is in the file twice, as the last matrix of the head that predicts
them; row 0 of the mask embedding is zero, row 1 stands in place of hidden features. The file says nothing of heads: one for 64
columns. Files for NLVR2, VCR, entailment, retrieval and expressions are refused by the names of their heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Place, peek, read, shape_of, take
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.systems.uniter import Config, System, feed
from pairloom.weights._bert_names import (
    BIAS,
    EMBEDDINGS,
    TIED,
    WORDS,
    Layers,
    answers_beside,
    bert_places,
    count_layers,
    current,
    with_tokens,
)

BODY = "uniter."
MASKED = f"{BODY}img_embeddings.mask_embedding.weight"
HEADS = ("itm_output.", "vqa_output.")
# ours that a file of VQA lacks
PRE_TRAINED = ("match_head.", "language_head.", "feature_head.", "feature_bias", "class_head.", "classify.")
OTHERS = ("nlvr2_output.", "vcr_output.", "re_output.", "rank_output.", "attn_pool.")
REST = (
    *((ours, f"{BODY}{theirs}") for ours, theirs in EMBEDDINGS),
    *WORDS,
    (r"regions\.features", f"{BODY}img_embeddings.img_linear"),
    (r"regions\.features_norm", f"{BODY}img_embeddings.img_layer_norm"),
    (r"regions\.boxes", f"{BODY}img_embeddings.pos_linear"),
    (r"regions\.boxes_norm", f"{BODY}img_embeddings.pos_layer_norm"),
    (r"regions\.norm", f"{BODY}img_embeddings.LayerNorm"),
    (r"pooler", f"{BODY}pooler.dense"),
    (r"match_head", "itm_output"),
    (r"feature_head\.(.)", r"feat_regress.net.\1"),
    (r"class_head\.(.)", r"region_classifier.net.\1"),
    (r"classify", "region_classifier.net.3"),
    (r"answer_head\.(.)", r"vqa_output.\1"),
)
ALONE = {
    "language_head.bias": (BIAS,),
    "feature_bias": ("feat_regress.bias",),
    "regions.hidden": (MASKED,),
    "text.words.weight": (f"{BODY}embeddings.word_embeddings.weight", TIED),
    "regions.features.weight": (f"{BODY}img_embeddings.img_linear.weight", "feat_regress.weight"),
}
STACK = (Layers("stack.layers", f"{BODY}encoder.layer"),)


def sniff(where: Path) -> bool:
    """Whether a path is a file with UNITER's embedding of regions."""
    return MASKED in (peek(where) if where.is_file() else set())


def load(where: Path) -> Model:
    """Load a .pt file; BERT's cased vocabulary is read from its folder or from the local hub cache, the list of VQA's answers from its
    folder. Mistake for a model of another task, and for missing or unknown tensors."""
    theirs = current(read(where))
    other = sorted({name.split(".")[0] for name in theirs if name.startswith(OTHERS)})
    if other or not any(name.startswith(HEADS) for name in theirs):
        raise Mistake(
            f"{where} is a UNITER of another task.",
            f"Its head is {', '.join(other)}." if other else "It has no head that can be asked.",
            "Pre-trained models and those of VQA can be loaded.",
        )
    shape_of(theirs, MASKED, 2, where, "a UNITER")
    theirs[MASKED] = theirs[MASKED][-1]
    config, tokens = with_tokens(config_of(theirs, where), where, kind="bert-cased")
    config = replace(config, answer_list=answers_beside(where, config.answers))
    system = build_for(theirs, lambda: System(config), where)
    lacking = () if config.matches else PRE_TRAINED
    take(theirs, places(system), system.state_dict()).whole(where, lacking).into(system)
    return Model("uniter", system.eval(), tokens, feed(config), {"source": f"UNITER ({where.name})"})


def config_of(theirs: Mapping[str, Tensor], where: Path) -> Config:
    """The Config that follows from the shapes; the whole mix of tasks is the paper's."""

    def shape(name: str) -> tuple[int, ...]:
        return shape_of(theirs, f"{name}.weight", 2, where, "a UNITER")

    def rows(name: str) -> int:
        return shape(name)[0] if f"{name}.weight" in theirs else 0

    words, width = shape(f"{BODY}embeddings.word_embeddings")
    positions = shape(f"{BODY}embeddings.position_embeddings")[0]
    return Config(
        vocabulary=words, length=min(60, positions), positions=positions, width=width, heads=max(1, width // 64),
        depth=count_layers(theirs, f"{BODY}encoder.layer."), features=shape(f"{BODY}img_embeddings.img_linear")[1],
        classes=rows("region_classifier.net.3"), matches="itm_output.weight" in theirs, answers=rows("vqa_output.3"),
    )  # fmt: skip


def places(system: System) -> dict[str, Place]:
    """The places of our tensors in a file; the word table and the projection of features are in it twice."""
    return bert_places(system.state_dict(), STACK, REST, ALONE)
