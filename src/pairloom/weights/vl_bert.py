"""VL-BERT as its authors published it on precomputed features: vl-bert-base-prec.model, vl-bert-large-prec.model.

Facts: the files hold a pre-trained model, which predicts hidden words and regions and cannot be asked anything: it is what training
starts from. Rows that are learned alone are tables of one row. The file says nothing of heads: one for 64 columns. Files whose CNN
was trained too ("e2e") are refused: they read pixels and boxes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Place, peek, read, shape_of, take
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.systems.vl_bert import Config, System, feed
from pairloom.weights._bert_names import Layers, bert_places, count_layers, with_tokens

BODY = "vlbert."
TABLE, BIAS = f"{BODY}word_embeddings.weight", f"{BODY}mlm_head.predictions.bias"
PROJECT = "image_feature_extractor.obj_downsample.1"
REST = (
    (r"text\.words", f"{BODY}word_embeddings"),
    (r"text\.positions", f"{BODY}position_embeddings"),
    (r"text\.segments", f"{BODY}token_type_embeddings"),
    (r"text\.norm", f"{BODY}embedding_LayerNorm"),
    (r"visual\.project", PROJECT),
    (r"word_norm", f"{BODY}visual_ln_text"),
    (r"region_norm", f"{BODY}visual_ln_object"),
    (r"language_head\.dense", f"{BODY}mlm_head.predictions.transform.dense"),
    (r"language_head\.norm", f"{BODY}mlm_head.predictions.transform.LayerNorm"),
    (r"class_head\.0", f"{BODY}mvrc_head.transform.dense"),
    (r"class_head\.2", f"{BODY}mvrc_head.region_cls_pred"),
)
ROWS = {
    "image_row": "object_linguistic_embeddings.weight",
    "masked_row": "object_mask_word_embedding.weight",
    "end_row": f"{BODY}end_embedding.weight",
    "no_picture": "aux_text_visual_embedding.weight",
    "hidden": "object_mask_visual_embedding.weight",
}


def sniff(where: Path) -> bool:
    """Whether a path is a file with VL-BERT's norm of what words see."""
    return f"{BODY}visual_ln_text.weight" in (peek(where) if where.is_file() else set())


def load(where: Path) -> Model:
    """Load a .model file, to train from; BERT's vocabulary (bert-base-uncased) is read from its folder or from the local hub cache.
    Mistake for a model with a CNN or of another task, and for missing or unknown tensors."""
    theirs = read(where)
    if any(name.startswith("image_feature_extractor.backbone.") for name in theirs):
        raise Mistake(
            f"{where} was trained together with its CNN.",
            "It reads the pixels and the boxes of a picture, which no feed here gives.",
            "Take the file on precomputed features (vl-bert-base-prec.model).",
        )
    config, tokens = with_tokens(config_of(theirs, where), where)
    for name in ROWS.values():
        shape_of(theirs, name, 2, where, "a VL-BERT")
        theirs[name] = theirs[name].flatten()
    system = build_for(theirs, lambda: System(config), where)
    take(theirs, places(system), system.state_dict()).whole(where).into(system)
    return Model("vl_bert", system.eval(), tokens, feed(config), {"source": f"VL-BERT ({where.name})"})


def config_of(theirs: Mapping[str, Tensor], where: Path) -> Config:
    """The Config that follows from the shapes. The projection reads the sines of a box and features side by side; as many as the row
    that stands for hidden features are features."""

    def shape(name: str) -> tuple[int, ...]:
        return shape_of(theirs, name, 2, where, "a VL-BERT")

    words, width = shape(TABLE)
    features = shape(ROWS["hidden"])[1]
    positions = shape(f"{BODY}position_embeddings.weight")[0]
    return Config(
        vocabulary=words, length=min(64, positions), positions=positions, width=width, heads=max(1, width // 64),
        depth=count_layers(theirs, f"{BODY}encoder.layer."), features=features,
        coordinates=shape(f"{PROJECT}.weight")[1] - features,
        classes=shape(f"{BODY}mvrc_head.region_cls_pred.weight")[0],
    )  # fmt: skip


def places(system: System) -> dict[str, Place]:
    """The places of our tensors in a file; the word table is in it twice."""
    alone = {
        **{ours: (there,) for ours, there in ROWS.items()},
        "language_head.bias": (BIAS,),
        "text.words.weight": (TABLE, f"{BODY}mlm_head.predictions.decoder.weight"),
    }
    return bert_places(system.state_dict(), (Layers("stack.layers", f"{BODY}encoder.layer"),), REST, alone)
