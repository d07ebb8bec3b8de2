"""OpenFlamingo's checkpoint.pt: the resampler, the gated layers and the word embeddings of a Flamingo, nothing else.

Facts: keys and values are fused; a gated layer has the number of the language model's layer that it precedes; all word
embeddings are in the file, but only those of <|endofchunk|> and <image> are new; names may begin with "module.". The
vision tower and the language model are separate folders.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from pairloom.checkpoints.layout import Place, read, rename, take
from pairloom.errors import Mistake
from pairloom.model import Model

PART = "bridge"
OUTPUTS = (
    "embed_out.weight",
    "lm_head.weight",
    "output_layer.weight",
)  # names of output tables of language models
HALF = {"key": 0, "value": 1}
RESAMPLER = [
    (r"queries", "latents"),
    (r"norm\.(.+)", r"norm.\1"),
    (r"layers\.(\d+)\.norm_rows\.(.+)", r"layers.\1.0.norm_media.\2"),
    (r"layers\.(\d+)\.norm\.(.+)", r"layers.\1.0.norm_latents.\2"),
    (r"layers\.(\d+)\.attend\.query\.weight", r"layers.\1.0.to_q.weight"),
    (r"layers\.(\d+)\.attend\.(?:key|value)\.weight", r"layers.\1.0.to_kv.weight"),
    (r"layers\.(\d+)\.attend\.out\.weight", r"layers.\1.0.to_out.weight"),
    (r"layers\.(\d+)\.norm_feed\.(.+)", r"layers.\1.1.0.\2"),
    (r"layers\.(\d+)\.feed\.up\.weight", r"layers.\1.1.1.weight"),
    (r"layers\.(\d+)\.feed\.down\.weight", r"layers.\1.1.3.weight"),
]
GATED = [
    (r"norm\.(.+)", r"attn.norm.\1"),
    (r"attend\.query\.weight", "attn.to_q.weight"),
    (r"attend\.(?:key|value)\.weight", "attn.to_kv.weight"),
    (r"attend\.out\.weight", "attn.to_out.weight"),
    (r"norm_feed\.(.+)", r"ff.0.\1"),
    (r"feed\.up\.weight", "ff.1.weight"),
    (r"feed\.down\.weight", "ff.3.weight"),
    (r"attend_gate", "attn_gate"),
    (r"feed_gate", "ff_gate"),
]


def resampler_places(part: nn.Module, prefix: str) -> dict[str, Place]:
    """The places of a resampler's tensors in the checkpoint."""
    return {name: _place(name, RESAMPLER, prefix) for name in part.state_dict()}


def gated_places(part: nn.Module, prefix: str) -> dict[str, Place]:
    """The places of a gated layer's tensors in the checkpoint."""
    return {name: _place(name, GATED, prefix) for name in part.state_dict()}


def _place(name: str, rules: list[tuple[str, str]], prefix: str) -> Place:
    there = rename(name, rules)
    half = HALF[name.split(".")[-2]] if ".to_kv." in f".{there}" else None
    return Place((prefix + there,), half, of=2)


def start(model: Model, where: Path) -> Model:
    """Put the checkpoint into a new Flamingo that has its vision tower and language model.

    Mistake where the checkpoint is for another language model, interval or tower.
    """
    system = model.system
    theirs = read(where)
    layers = sorted(
        {int(match[1]) for name in theirs if (match := re.search(r"\.(\d+)\.gated_cross_attn_layer\.", name))}
    )
    ours = list(range(system.config.first, system.language.depth, system.config.every))
    if layers != ours:
        raise Mistake(
            f"The gated layers in {where} stand before layers {_few(layers)}, here before {_few(ours)}.",
            "It was trained with another language model or interval.",
            "Set model.every and model.first, or give its language model by --init language=FOLDER.",
        )
    places = {
        f"resampler.{name}": place for name, place in resampler_places(system.resampler, "perceiver.").items()
    }
    for at, layer in enumerate(layers):
        prefix = next(name for name in theirs if f".{layer}.gated_cross_attn_layer." in name)
        prefix = prefix[: prefix.index("gated_cross_attn_layer.")] + "gated_cross_attn_layer."
        places |= {
            f"gated.{at}.{name}": place for name, place in gated_places(system.gated[at], prefix).items()
        }
    ours_but_marks = {name: tensor for name, tensor in system.state_dict().items() if name != "marks"}
    moved = take(theirs, places, ours_but_marks)
    words = {name: tensor for name, tensor in theirs.items() if name in moved.left and tensor.ndim == 2}
    moved.left = [name for name in moved.left if name not in words]
    moved.whole(where).into(system)
    _put_marks(model, words, where)
    return replace(model, about={**model.about, "bridge": f"OpenFlamingo ({where.name})"})


def _put_marks(model: Model, words: dict[str, Tensor], where: Path) -> None:
    """Copy the embeddings of the two new words, from the table that has them (the language model's own words were not trained);
    <|endofchunk|> is written by its row of the output table, where the file has one."""
    c, system = model.config, model.system
    new = [c.image_mark, c.chunk_end]
    tables = {
        name: table
        for name, table in words.items()
        if table.shape[1] == system.language.width and len(table) > max(new)
    }
    outputs = [table for name, table in tables.items() if name.endswith(OUTPUTS)]
    inputs = [table for name, table in tables.items() if not name.endswith(OUTPUTS)] or outputs
    if inputs:
        rows = inputs[0][new]
        own = bool(outputs) and not torch.equal(outputs[0][c.chunk_end], inputs[0][c.chunk_end])
        system.config = replace(c, own_end=own)
        rows = torch.cat([rows, outputs[0][[c.chunk_end]]]) if own else rows
        system.marks = nn.Parameter(rows.to(system.marks).clone(), system.marks.requires_grad)
        return
    raise Mistake(
        f"{where} has no words for <image> and <|endofchunk|>.",
        f"The tokenizer here gives them the ids {c.image_mark} and {c.chunk_end}.",
        "Give the language model that the checkpoint was trained with.",
    )


def _few(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:4])) + (" ..." if len(numbers) > 4 else "") if numbers else "none"
