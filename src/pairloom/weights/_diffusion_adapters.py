"""Low-rank adapters of a Stable Diffusion: read from diffusers' file, from kohya's names and from peft's folders of its parts, and
written by the released names.

Facts: diffusers' file is pytorch_lora_weights.safetensors; a name begins with its part, or is one of the network's attention.
kohya's names are lora_unet_, lora_te_ (XL: lora_te1_, lora_te2_) and the path of a layer with each dot as a line; for XL the path
is that of the first release's network (input_blocks, middle_block, output_blocks).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from pairloom.blocks.lora import adapters
from pairloom.checkpoints.layout import read
from pairloom.checkpoints.names import PIPELINE
from pairloom.errors import Mistake
from pairloom.systems.latent_diffusion import System
from pairloom.weights._low_rank import LowRank, header_scaling, is_peft, read_adapters, read_peft

ADAPTERS = "pytorch_lora_weights.safetensors"  # the file of adapters, as diffusers calls it
PARTS = [part for part in PIPELINE if part != "vae"]
KOHYA = {
    "lora_unet_": "unet",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
}
INNER = ("resnets", "attentions", "upsamplers")  # parts of a block in the first release's network, by number


def adapters_in(where: Path) -> dict[str, LowRank]:
    """The adapters of a pipeline's folder: "unet.", "text_encoder." or "text_encoder_2." and the layer -> adapter; of kohya's names
    as they are."""
    layers: dict[str, LowRank] = {}
    files = [where / ADAPTERS, (where / ADAPTERS).with_suffix(".bin")]
    file = next((file for file in files if file.is_file()), None)
    if file is not None:
        layers |= _in_file(file, read(file))
    for part in PARTS:
        if is_peft(where / part):
            layers |= {f"{part}.{layer}": adapter for layer, adapter in read_peft(where / part).items()}
    return layers


def _in_file(file: Path, tensors: Mapping[str, Tensor]) -> dict[str, LowRank]:
    if any(name.startswith(tuple(KOHYA)) for name in tensors):
        return read_adapters(tensors, file, lambda layer, rank: 1.0)
    begins = tuple(f"{part}." for part in PARTS)
    named = {name if name.startswith(begins) else f"unet.{name}": tensor for name, tensor in tensors.items()}
    scalings = {part: header_scaling(file, part) for part in PARTS}

    def scaling(layer: str, rank: int) -> float:
        part, _, path = layer.partition(".")
        return scalings[part](path, rank)

    return {_modern(layer): adapter for layer, adapter in read_adapters(named, file, scaling).items()}


def _modern(layer: str) -> str:
    """The name of a layer as the libraries call it today."""
    if ".self_attn.to_" in layer:
        return layer.replace(".to_", ".") + "_proj"
    return re.sub(r"\.to_out$", ".to_out.0", layer)


def put_adapters(system: System, layers: Mapping[str, LowRank], where: Path) -> None:
    """Put adapters into a network. Those of one rank on all of its attention, or on all of its cross-attention, stay apart and can be
    trained further; others are added to the weights. Mistake for a layer that the network does not have."""
    named = _known(system, layers, where)
    maps = {f"unet.{name}" for name in system.attention_maps("both")}
    cross = {f"unet.{name}" for name in system.attention_maps("cross")}
    ranks = {adapter.rank for adapter in named.values()}
    if len(ranks) == 1 and named.keys() in (maps, cross):
        system.add_adapters(
            replace(system.config, rank=ranks.pop(), adapted="cross" if named.keys() == cross else "both")
        )
        for name, part in adapters(system.unet):
            adapter = named[f"unet.{name}"]
            _fit(part.down.weight, adapter.down, name)
            _fit(part.up.weight, adapter.up * adapter.scale, name)
        return
    weights = _weights(system)
    with torch.no_grad():
        for layer, adapter in named.items():
            weights[layer].copy_(adapter.added_to(weights[layer], layer))


def _fit(place: Tensor, tensor: Tensor, name: str) -> None:
    if place.shape != tensor.shape:
        raise Mistake(
            f"The adapter of '{name}' does not fit its layer.",
            f"It is {list(tensor.shape)}, expected {list(place.shape)}.",
            "It was trained for another model: name that one.",
        )
    with torch.no_grad():
        place.copy_(tensor)


def _weights(system: System) -> dict[str, Tensor]:
    """The weights of the layers that can be adapted, by part and name."""
    roots = dict(zip(PARTS, (system.unet, system.text.first, system.text.second)))
    return {
        f"{part}.{name.removeprefix('text_model.')}": module.weight
        for part, root in roots.items()
        if root is not None
        for name, module in root.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }


def _known(system: System, layers: Mapping[str, LowRank], where: Path) -> dict[str, LowRank]:
    """The adapters by the names that `_weights` has. Mistake for a layer that is not there."""
    weights, layers_per_block = _weights(system), system.unet.config.layers_per_block
    flat = {name.replace(".", "_"): name for name in weights}
    named = {}
    for layer, adapter in layers.items():
        begin = next((one for one in KOHYA if layer.startswith(one)), None)
        there = layer.replace(".text_model.", ".")
        if begin is not None:
            path = layer.removeprefix(begin).removeprefix("text_model_")
            there = flat.get(f"{KOHYA[begin]}_{_of_first_release(path, layers_per_block)}", layer)
        if there not in weights:
            raise Mistake(
                f"The adapters in {where} are for another model.",
                f"This one has no layer '{layer}'.",
                "Name the model that they were trained for.",
            )
        named[there] = adapter
    return named


def _of_first_release(path: str, layers: int) -> str:
    """The path of a layer of the first release's network, with lines for dots, as diffusers has it; another path as it is. layers: of
    a block, beside the one that changes the resolution."""
    match = re.fullmatch(r"(input|output)_blocks_(\d+)_([0-2])_(.+)", path)
    if match:
        side, number, inner, rest = match[1], int(match[2]), int(match[3]), match[4]
        block, layer = divmod(number - (side == "input"), layers + 1)
        if rest == "op":
            return f"down_blocks_{block}_downsamplers_0_conv"
        place = f"{'down' if side == 'input' else 'up'}_blocks_{block}_{INNER[inner]}"
        return f"{place}_{0 if inner == 2 else layer}_{rest}"
    match = re.fullmatch(r"middle_block_([0-2])_(.+)", path)
    return f"mid_block_{INNER[int(match[1]) % 2]}_{int(match[1]) // 2}_{match[2]}" if match else path


def halves_of(system: System) -> Iterator[tuple[str, str, Tensor]]:
    """The down and up matrices of all adapters: our name, the released name, the tensor."""
    for name, part in adapters(system.unet):
        owner, which = re.fullmatch(r"(.+\.attn[12])\.to_(q|k|v|out)(?:\.0)?", name).groups()  # type: ignore[union-attr]
        for half in ("down", "up"):
            tensor = getattr(part, half).weight.detach()
            yield f"unet.{name}.{half}.weight", f"{owner}.processor.to_{which}_lora.{half}.weight", tensor
