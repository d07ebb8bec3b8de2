"""The tokenizer of BEiT v2 as its authors published it (vqkd_encoder_base_decoder_1x768x12_clip-d93179da.pth, ..._3x768x12_clip-...,
..._1x768x12_dino-...): its encoder and its table of codes.

Facts: queries and values have biases, keys have none; the last norm is called fc_norm. The decoder, which predicts a teacher's features,
and what training counted are not read. The file says nothing of heads: one for 64 columns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from pairloom.blocks.codebook_configs import VqKdConfig
from pairloom.checkpoints.layout import Place, shape_of
from pairloom.weights._bert_names import count_layers
from pairloom.weights._codebook_file import CodebookFile

TABLE, HEAD = "quantize.embedding.weight", "encode_task_layer"
UNREAD = ("decoder.", "decode_task_layer.", "teacher", "scaling", "loss")
COUNTED = ("quantize.cluster_size", "quantize.embedding.")  # of the quantiser, all but the table
REST = {
    "vision.embed.class_row": "encoder.cls_token",
    "vision.embed.positions": "encoder.pos_embed",
    "table.weight": TABLE,
}
STEMS = {
    "vision.embed.patch": "encoder.patch_embed.proj",
    "vision.norm": "encoder.fc_norm",
    "head.0": f"{HEAD}.0",
    "head.2": f"{HEAD}.2",
}
LAYER = {
    "attend.0.norm": "norm1",
    "attend.0.fn.out": "attn.proj",
    "feed.0.norm": "norm2",
    "feed.0.fn.up": "mlp.fc1",
    "feed.0.fn.down": "mlp.fc2",
}


def sniff(theirs: Mapping[str, Tensor]) -> bool:
    """Whether these are its tensors."""
    return TABLE in theirs and f"{HEAD}.0.weight" in theirs


def codebook_of(theirs: Mapping[str, Tensor], where: Path) -> CodebookFile:
    """The sizes follow from the shapes. Mistake where a tensor that says one is missing."""
    codes, embedding = shape_of(theirs, TABLE, 2, where, "a tokenizer of BEiT v2")
    width = shape_of(theirs, f"{HEAD}.0.weight", 2, where, "a tokenizer of BEiT v2")[0]
    depth = count_layers(theirs, "encoder.blocks.")
    kept = {
        name: one
        for name, one in theirs.items()
        if not name.startswith(UNREAD) and (name == TABLE or not name.startswith(COUNTED))
    }
    for layer in range(depth):
        name = f"encoder.blocks.{layer}.attn."
        if f"{name}q_bias" in kept and f"{name}v_bias" in kept:
            query, value = kept.pop(f"{name}q_bias"), kept.pop(f"{name}v_bias")
            kept[f"{name}qkv.bias"] = torch.cat([query, torch.zeros_like(query), value])
    config = VqKdConfig(width, depth, max(1, width // 64), embedding)
    return CodebookFile(config, codes, kept, place)


def place(name: str) -> Place:
    """Where a tensor of our encoder lies."""
    stem, _, kind = name.rpartition(".")
    if one := re.fullmatch(r"vision\.stack\.layers\.(\d+)\.(.+)", stem):
        block = f"encoder.blocks.{one[1]}"
        third = (
            ("query", "key", "value").index(part)
            if (part := one[2].rpartition(".")[2]) in ("query", "key", "value")
            else None
        )
        return Place((f"{block}.{'attn.qkv' if third is not None else LAYER[one[2]]}.{kind}",), third)
    return Place((REST[name] if name in REST else f"{STEMS[stem]}.{kind}",))
