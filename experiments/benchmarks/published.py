"""transformers' BLIP classes at base size with random weights, and our system with the same weights. Two benchmarks use this
module.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from pairloom.runtime.packing import pack_texts
from pairloom.systems.blip import PRESETS, System
from pairloom.weights.salesforce import from_salesforce, from_transformers

START, END = 30522, 102
TEXT = dict(
    num_attention_heads=12, encoder_hidden_size=768, layer_norm_eps=1e-12, bos_token_id=START, eos_token_id=END,
    sep_token_id=END, pad_token_id=0,
)  # fmt: skip


def pair(kind: str, size: int = 384, seed: int = 0) -> tuple[Any, System]:
    """BlipForConditionalGeneration ("caption") or BlipForImageTextRetrieval ("retrieval"), and our system with its weights."""
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipForImageTextRetrieval

    torch.manual_seed(seed)
    config = BlipConfig(text_config=TEXT, vision_config=dict(image_size=size, layer_norm_eps=1e-6))
    architecture = BlipForConditionalGeneration if kind == "caption" else BlipForImageTextRetrieval
    theirs = architecture(config).eval()
    ours = System(replace(PRESETS[f"base-{kind}"], image_size=size, queue=0, momentum=0.0)).eval()
    both = ours.state_dict()
    moved = from_salesforce(
        {from_transformers(name): value for name, value in theirs.state_dict().items()}, ours
    )
    for name, value in moved.tensors.items():
        both[name].copy_(value)
    pack_texts(ours)  # as in every Model
    return theirs, ours
