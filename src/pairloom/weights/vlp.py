"""Unified VLP as its authors published it: pre-trained on Conceptual Captions and fine-tuned for captions (model.30.bin, model.28.bin,
model.19.bin), and for VQA.

Facts: the vocabulary is BERT's, cased; there are six segments. The pooler and the head of sentence pairs are UniLM's, and are not
read. In VQA's list answer 0 stands for any that is not known. The file says nothing of heads: one for 64 columns, and nothing of
regions: 100.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Place, peek, read, shape_of, take
from pairloom.model import Model
from pairloom.model.generation import Generation
from pairloom.systems.vlp import Config, System, feed
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
    silence_spare_words,
    with_tokens,
)

UNUSED = ("bert.pooler.", "cls.seq_relationship.", "crit_mask_lm_smoothed.")
REST = (
    *((ours, f"bert.{theirs}") for ours, theirs in EMBEDDINGS),
    *WORDS,
    (r"regions\.features\.(.)", r"vis_embed.\1"),
    (r"regions\.places\.0", "vis_pe_embed.0"),
    (r"answer_head\.(.)", r"ans_classifier.\1"),
)
ALONE = {"language_head.bias": (BIAS,), "text.words.weight": ("bert.embeddings.word_embeddings.weight", TIED)}
STACK = (Layers("stack.layers", "bert.encoder.layer"),)


def sniff(where: Path) -> bool:
    """Whether a path is a file with VLP's embedding of places."""
    return "vis_pe_embed.0.weight" in (peek(where) if where.is_file() else set())


def load(where: Path) -> Model:
    """Load a .bin file; BERT's cased vocabulary is read from its folder or from the local hub cache, the list of VQA's answers from its
    folder. Mistake for missing or unknown tensors."""
    theirs = {name: one for name, one in current(read(where)).items() if not name.startswith(UNUSED)}
    config, tokens = with_tokens(config_of(theirs, where), where, kind="bert-cased")
    config = replace(config, answer_list=answers_beside(where, config.answers))
    system = build_for(theirs, lambda: System(config), where)
    take(theirs, places(system), system.state_dict()).whole(where).into(system)
    silence_spare_words(system.language_head, len(theirs[BIAS]))
    about, written = {"source": f"VLP ({where.name})"}, Generation(beams=5, max_length=20)
    return Model("vlp", system.eval(), tokens, feed(config), about, written)


def config_of(theirs: Mapping[str, Tensor], where: Path) -> Config:
    """The Config that follows from the shapes: a region's place is six numbers and the scores of the classes."""

    def shape(name: str) -> tuple[int, ...]:
        return shape_of(theirs, f"{name}.weight", 2, where, "a VLP")

    words, width = shape("bert.embeddings.word_embeddings")
    return Config(
        vocabulary=words, positions=shape("bert.embeddings.position_embeddings")[0], width=width, heads=max(1, width // 64),
        depth=count_layers(theirs, "bert.encoder.layer."), features=shape("vis_embed.0")[1],
        classes=shape("vis_pe_embed.0")[1] - 6,
        answers=shape("ans_classifier.2")[0] if "ans_classifier.2.weight" in theirs else 0,
    )  # fmt: skip


def places(system: System) -> dict[str, Place]:
    """The places of our tensors in a file; the word table is in it twice."""
    return bert_places(system.state_dict(), STACK, REST, ALONE)
