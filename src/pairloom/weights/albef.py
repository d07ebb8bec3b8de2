"""ALBEF as its authors published it (ALBEF.pth, ALBEF_4M.pth, mscoco.pth, flickr30k.pth, refcoco.pth).

Facts: one BERT of twelve layers, of which the upper six have cross-attention, is text encoder and fusion encoder; fine-tuned
files lack "bert." and the head of masked words; momentum copies and queues are not read. Texts begin with [CLS] and have no
[SEP] behind them. Nothing but tensors is read of a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Place, give, peek, read, shape_of, take
from pairloom.data.transform import Transform
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.systems.albef import Config, System
from pairloom.weights._bert_names import with_tokens
from pairloom.weights.salesforce import EXTRA, fuses_late, image_place, sizes_of, text_name

WHOLE = re.compile(r"^text_encoder\.(?!bert\.|cls\.)")  # a fine-tuned file's name of the text encoder
HEADS = {
    "towers.image_projection": "vision_proj",
    "towers.text_projection": "text_proj",
    "match_head": "itm_head",
    "towers.language_head.dense": "text_encoder.cls.predictions.transform.dense",
    "towers.language_head.norm": "text_encoder.cls.predictions.transform.LayerNorm",
}
WORDS = ("text_encoder.cls.predictions.bias", "text_encoder.cls.predictions.decoder.bias")
TABLE = ("text_encoder.bert.embeddings.word_embeddings.weight", "text_encoder.cls.predictions.decoder.weight")


def sniff(where: Path) -> bool:
    """Whether a path is a file with an image tower under its published name and a text encoder that fuses in its upper layers, and of
    no task with a system of its own."""
    names = peek(where) if where.is_file() else set()
    return "visual_encoder.cls_token" in names and fuses_late(names) and not of_a_task(names)


def of_a_task(names: Iterable[str]) -> bool:
    """Whether a file has the heads of questions or of statements: a decoder, a classifier, or the head of text assignment."""
    return any(name.startswith(("text_decoder.", "cls_head.", "ta_head.")) for name in names)


def load(where: Path) -> Model:
    """Load a .pth file; BERT's vocabulary is read from its folder or from the local hub cache. Mistake for a file without a head for
    pairs, and for missing or unknown tensors."""
    theirs = {
        WHOLE.sub("text_encoder.bert.", name): tensor
        for name, tensor in read(where).items()
        if not EXTRA.search(name)
    }
    config, tokens = with_tokens(config_of(theirs, where), where)
    system = build_for(theirs, lambda: System(config), where)
    lacking = () if config.mlm else ("towers.language_head.",)
    take(theirs, places(system), system.state_dict()).whole(where, lacking).into(system)
    return Model(
        "albef", system.eval(), tokens, Transform(config.image_size), {"source": f"ALBEF ({where.name})"}
    )


def config_of(theirs: Mapping[str, Tensor], where: Path) -> Config:
    """The Config that follows from the shapes, with one head for 64 columns and no teacher."""
    if "itm_head.weight" not in theirs or "vision_proj.weight" not in theirs:
        raise Mistake(
            f"{where} is an ALBEF of another task.",
            "It has no head for pairs.",
            "Pre-trained models, and those for retrieval, VQA and NLVR2 can be loaded.",
        )
    sizes = sizes_of(theirs, where, "text_encoder.bert.", None)
    for name in ("dec", "enc"):
        sizes.pop(name)
    layers = sizes.pop("depth")
    upper = sum(
        f"text_encoder.bert.encoder.layer.{layer}.crossattention.self.query.weight" in theirs
        for layer in range(layers)
    )
    return Config(
        **sizes, depth=layers - upper, fusion_depth=upper, length=min(30, sizes["positions"]), queue=0, momentum=0.0,
        embedding=shape_of(theirs, "vision_proj.weight", 2, where, "an ALBEF model")[0], mlm=float(WORDS[0] in theirs),
    )  # fmt: skip


def places(system: System) -> dict[str, Place]:
    """The places of our tensors in a checkpoint; the word table is in it twice."""
    names = [name for name in system.state_dict() if not name.startswith(system.training_state)]
    return {name: place(name, system.config.depth) for name in names}


def to_published(system: System) -> dict[str, Tensor]:
    """Convert our weights to the published names."""
    return give(system.state_dict(), places(system))


def place(name: str, depth: int) -> Place:
    """The place of one of our tensors. depth: of the text encoder, whose layers the fusion layers are counted on from."""
    stem, _, kind = name.rpartition(".")
    if name == "temperature":
        return Place(("temp",))
    if name == "towers.language_head.bias":
        return Place(WORDS)
    if name == "towers.text.embed.0.words.weight":
        return Place(TABLE)
    if stem in HEADS:
        return Place((f"{HEADS[stem]}.{kind}",))
    if name.startswith("towers.image."):
        return image_place(name.removeprefix("towers.image."))
    if stem == "towers.text.embed.0.segments":
        return Place((f"text_encoder.bert.embeddings.token_type_embeddings.{kind}",))
    match = re.fullmatch(r"towers\.(text\.stack|fusion)\.layers\.(\d+)\.(\w+)\.0\.(.+)", stem)
    if match:
        layer = int(match[2]) + (depth if match[1] == "fusion" else 0)
        return Place((f"text_encoder.bert.{text_name(str(layer), f'{match[3]}.{match[4]}', kind)}",))
    part = re.sub(r"^towers\.text\.(embed)\.0\.", r"\1.", stem)
    return Place((f"text_encoder.bert.{text_name(None, part, kind)}",))
