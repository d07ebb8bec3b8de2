"""Inference engine: a copy of a network that runs fastest on this machine. The weights of every Stack, gated layer and
LanguageHead are packed for the processor beforehand, in fp32 ("exact") or bf16 ("fast", "int8"), and a VisionTower is run by
whatever is fastest here (tower_choice.py).

docs/speed.md has the measurements, and what each speed may change. An engine has no gradients and cannot be saved.
Does not know: systems, tasks.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from pairloom.blocks.image_encoder import ImageEncoder
from pairloom.blocks.vision import VisionTower
from pairloom.runtime import Speed
from pairloom.runtime.devices import has_bf16
from pairloom.runtime.packing import pack_texts
from pairloom.runtime.prepacked import prepack
from pairloom.runtime.speeds import SPEEDS
from pairloom.runtime.tower_choice import run_tower


def engine(network: nn.Module, speed: Speed) -> nn.Module:
    """Inference copy of a network; tensors that it does not convert are shared with the original.

    exact: fp32 arithmetic; outputs differ from the network's own by rounding (1e-5). fast: matrix products in bf16, sums
    and norms in fp32; on a processor without bf16 the same as exact. int8: as fast, with the linear maps of image towers in
    int8 where OpenVINO is there and a probe agrees. The engine's `speed` is this, its `implementation` what runs each image
    tower. ValueError for another speed.
    """
    if speed not in SPEEDS:
        raise ValueError(f"speed is {', '.join(SPEEDS[:-1])} or {SPEEDS[-1]}, not {speed!r}")
    tensors = [*network.parameters(), *network.buffers()]
    network_: Any = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors}).eval()
    for name in getattr(network_, "training_state", ()):
        if name.endswith("."):
            setattr(network_, name[:-1], None)
    dtype = torch.bfloat16 if speed != "exact" and has_bf16(tensors[0].device) else torch.float32
    raw = [part.image for part in network_.modules() if isinstance(part, ImageEncoder) and not part.norm_rows]
    implementation = {
        name: run_tower(part, dtype, speed == "int8")
        for name, part in list(network_.named_modules())
        if isinstance(part, VisionTower) and part not in raw  # a graph ends with the last norm
    }
    prepack(network_, dtype)
    pack_texts(network_)
    network_.speed, network_.implementation = speed, implementation
    return network_
