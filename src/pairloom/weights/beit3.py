"""BEiT-3 as its authors published it, in base and large: the pre-trained trunk (beit3_base_patch16_224.pth), dual encoders (..._itc_...,
..._coco_retrieval.pth), captioners (..._coco_captioning.pth, ..._nocaps.pth), and those of questions (..._480_vqa.pth) and of statements
(..._224_nlvr2.pth).

Facts: A is the expert of pictures, B that of texts; the first two rows of either table of positions are never read, as in fairseq. A
file has the heads of its task alone; that of questions lacks the last norms. The vocabulary is SentencePiece's, in XLM-RoBERTa's order, and the word table has a few rows
more. Pictures are squashed to a square, and scaled to -1 .. 1. The file says nothing of heads: one for 64 columns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pairloom.checkpoints.building import build_for
from pairloom.checkpoints.layout import Place, peek, read, shape_of, take
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.model.generation import Generation
from pairloom.systems import beit3, beit3_nlvr, beit3_vqa
from pairloom.weights._bert_names import answers_beside, count_layers

BODY = "beit3."
CLASS_ROW, HIDDEN = f"{BODY}vision_embed.cls_token", f"{BODY}vision_embed.mask_token"
POSITIONS = f"{BODY}encoder.embed_positions.{{}}.weight"
UNREAD_ROWS = 2  # at the start of a table of positions
SPARE_ROWS = 8  # at the end of the word table, which no token uses: they are left out
VOCABULARY = "beit3.spm"
EXPERT = {"vision": "A", "language": "B"}
# our names of a layer's part -> theirs; {} is the expert
LAYER = {
    "attend.0.fn.query": "self_attn.q_proj.{}",
    "attend.0.fn.key": "self_attn.k_proj.{}",
    "attend.0.fn.value": "self_attn.v_proj.{}",
    "attend.0.fn.out.0": "self_attn.inner_attn_ln.{}",
    "attend.0.fn.out.1": "self_attn.out_proj.{}",
    "attend.0.norm": "self_attn_layer_norm.{}",
    "feed.0.norm": "final_layer_norm.{}",
    "feed.0.fn.up": "ffn.{}.fc1",
    "feed.0.fn.down.0": "ffn.{}.ffn_layernorm",
    "feed.0.fn.down.1": "ffn.{}.fc2",
}
REST = {
    "patches.patch": f"{BODY}vision_embed.proj",
    "text.words": f"{BODY}text_embed",
    "text.positions": POSITIONS.format("B"),
    "vision_norm": f"{BODY}encoder.layer_norm.A",
    "language_norm": f"{BODY}encoder.layer_norm.B",
}
ALONE = {
    "patches.class_row": CLASS_ROW,
    "patches.positions": POSITIONS.format("A"),
    "text.positions.weight": POSITIONS.format("B"),
    "hidden": HIDDEN,
    "scale": "logit_scale",
}
WORDS = {f"{REST['text.words']}.weight", "mlm_head.weight", "mlm_head.bias"}


@dataclass(frozen=True)
class Task:
    """A kind of file. says: names of which each makes it one; heads: stems of ours -> theirs; lacking: ours that it has not."""

    module: Any
    says: tuple[str, ...] = ()
    heads: Mapping[str, str] = field(default_factory=dict)
    lacking: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


TOWERS = ("image_projection.", "text_projection.", "scale")
TRUNK = Task(beit3, lacking=("words.", "codes.", *TOWERS))
TASKS = (
    Task(
        beit3, ("vision_head.weight", "language_head.weight"), {"image_projection": "vision_head", "text_projection": "language_head"},
        ("words.", "codes."), dict(data=0.0, itc=1.0),
    ),
    Task(
        beit3, ("mlm_head.weight",), {"words": "mlm_head"}, ("codes.", *TOWERS), dict(data=0.0, caption=1.0, length=32),
    ),
    Task(
        beit3_vqa, ("pooler.dense.weight", "head.3.weight"),
        {"pooler.0": "pooler.norm", "pooler.1": "pooler.dense", **{f"head.{at}": f"head.{at}" for at in (0, 1, 3)}},
    ),
    Task(
        beit3_nlvr, ("head.dense2.weight",),
        {"head.0": "head.norm1", "head.1": "head.dense1", "head.2": "head.norm2", "head.4": "head.dense2"},
    ),
)  # fmt: skip


def sniff(where: Path) -> bool:
    """Whether a path is a file with BEiT-3's class row under its published name."""
    return CLASS_ROW in (peek(where) if where.is_file() else set())


def load(where: Path) -> Model:
    """Load a .pth file; its vocabulary is beit3.spm (or a tokenizer.json) in the same folder, and so is the list of VQA's answers. A
    trunk cannot be asked anything: it is what training starts from. Mistake for a model of another task, and for missing or unknown
    tensors."""
    theirs = read(where)
    task = _task_of(theirs, where)
    sizes = sizes_of(theirs, where)
    tokens = _tokens_beside(where)
    if not 0 <= sizes["vocabulary"] - tokens.size <= SPARE_ROWS:
        raise Mistake(
            f"The tokenizer for {where} is another model's.",
            f"It has {tokens.size} tokens, the weights have {sizes['vocabulary']}.",
            f"Put {VOCABULARY}, which is published with the weights, into the folder.",
        )
    ids = dict(pad=tokens.pad, cls=tokens.cls, sep=tokens.sep, mask=tokens.mask)
    config = _config(task, {**sizes, **task.settings, **ids, "vocabulary": tokens.size}, theirs, where)
    shape_of(theirs, HIDDEN, 3, where, "a BEiT-3")
    theirs[HIDDEN] = theirs[HIDDEN].flatten()
    if task.module is not beit3:
        theirs.pop(HIDDEN)
    for name in WORDS & theirs.keys():
        theirs[name] = theirs[name][: tokens.size]
    for expert in EXPERT.values():
        theirs[POSITIONS.format(expert)] = theirs[POSITIONS.format(expert)][UNREAD_ROWS:]
    system = build_for(theirs, lambda: task.module.System(config), where)
    take(theirs, places(system, task), system.state_dict()).whole(where, task.lacking).into(system)
    half = (0.5, 0.5, 0.5)
    pixels = Transform(config.image_size, half, half, "square")
    name, about = task.module.__name__.rpartition(".")[2], {"source": f"BEiT-3 ({where.name})"}
    return Model(name, system.eval(), tokens, pixels, about, Generation(beams=3, max_length=32))


def _config(task: Task, values: dict[str, Any], theirs: Mapping[str, Tensor], where: Path) -> Any:
    """The Config of a task's system, with the answers that its head and the list beside the file say."""
    if task.module is beit3:
        return beit3.Config(
            **values,
            embedding=theirs["vision_head.weight"].shape[0]
            if "vision_head.weight" in theirs
            else values["width"],
        )
    config = task.module.Config(**values)
    if task.module is not beit3_vqa:
        return config
    answers = shape_of(theirs, "head.3.weight", 2, where, "a BEiT-3 of questions")[0]
    return replace(config, answers=answers, answer_list=answers_beside(where, answers))


def _tokens_beside(where: Path) -> Tokens:
    """The vocabulary in the file's folder. Mistake where there is none."""
    if (where.parent / VOCABULARY).is_file():
        from pairloom.data.sentencepiece import xlm_roberta

        return Tokens(xlm_roberta(where.parent / VOCABULARY))
    if (where.parent / "tokenizer.json").is_file():
        return Tokens.load(where.parent / "tokenizer.json")
    raise Mistake(
        f"There is no vocabulary beside {where}.",
        "The file holds weights alone.",
        f"Put {VOCABULARY}, which is published with the weights, into the folder.",
    )


def _task_of(theirs: Mapping[str, Tensor], where: Path) -> Task:
    """The kind of file. Mistake for a task that is not built."""
    heads = {name.split(".")[0] for name in theirs} - {BODY[:-1]}
    task = next((task for task in TASKS if theirs.keys() >= set(task.says)), None if heads else TRUNK)
    if task is None:
        raise Mistake(
            f"{where} is a BEiT-3 of another task.",
            f"Its head is {', '.join(sorted(heads))}.",
            "The trunk, and those for retrieval, captions, VQA and NLVR2 can be loaded.",
        )
    return task


def sizes_of(theirs: Mapping[str, Tensor], where: Path) -> dict[str, Any]:
    """The sizes that follow from the shapes."""

    def shape(name: str, axes: int = 2) -> tuple[int, ...]:
        return shape_of(theirs, name, axes, where, "a BEiT-3")

    words, width = shape(f"{REST['text.words']}.weight")
    patch = shape(f"{REST['patches.patch']}.weight", 4)[-1]
    rows, texts = (shape(POSITIONS.format(expert))[0] - UNREAD_ROWS for expert in EXPERT.values())
    return dict(
        image_size=max(1, round(max(0, rows - 1) ** 0.5)) * patch, patch=patch, vocabulary=words, positions=texts, length=min(64, texts),
        width=width, depth=count_layers(theirs, f"{BODY}encoder.layers."), heads=max(1, width // 64),
        growth=shape(f"{BODY}encoder.layers.0.ffn.A.fc1.weight")[0] / width,
    )  # fmt: skip


def places(system: nn.Module, task: Task) -> dict[str, Place]:
    """The places of our tensors in a file of this kind; those of a head that it has not included."""
    return {name: _place(name, {**REST, **task.heads}) for name in system.state_dict()}


def _place(name: str, stems: Mapping[str, str]) -> Place:
    if name in ALONE:
        return Place((ALONE[name],), lead=int(name == "patches.positions"))
    stem, _, kind = name.rpartition(".")
    if one := re.fullmatch(r"(vision|language)\.layers\.(\d+)\.(.+)", stem):
        part = LAYER[one[3]].format(EXPERT[one[1]])
        return Place((f"{BODY}encoder.layers.{one[2]}.{part}.{kind}",))
    return Place((f"{stems[stem]}.{kind}",) if stem in stems else ())
