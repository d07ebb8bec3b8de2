"""Low-rank adapters in files (LoRA; Hu et al., 2021): two matrices for a layer, whose scaled product is added to its weight.

Facts: peft calls the halves lora_A and lora_B, kohya's scripts lora_down and lora_up, old diffusers lora.down and lora.up. The scale
is alpha / rank, or alpha / sqrt(rank): alpha stands in peft's adapter_config.json, in the header of diffusers' file, or as a
tensor beside the halves. Other kinds of adapters are refused by their names.

Does not know: networks.

I inputs, O outputs, r rank.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from pairloom.checkpoints.layout import read
from pairloom.checkpoints.settings import JsonSettings
from pairloom.errors import Mistake

PEFT = "adapter_config.json"
PEFT_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
DOWN, UP, ALPHA = "down", "up", "alpha"
HALF = {"A": DOWN, "B": UP, "down": DOWN, "up": UP}
# a name in a file -> its layer, which half; the first that matches the whole name
SPELLINGS = (
    r"(?P<layer>.+)\.lora_(?P<half>A|B|down|up)(\.default)?\.weight",
    r"(?P<layer>.+)\.processor\.(?P<map>to_(q|k|v|out))_lora\.(?P<half>down|up)\.weight",
    r"(?P<layer>.+)\.lora(_linear_layer)?\.(?P<half>down|up)\.weight",
    r"(?P<layer>.+)\.(?P<half>alpha)",
)
OTHERS = {
    "hada_w": "LoHa", "lokr_w": "LoKr", "lora_mid": "LoCon with a core tensor", "dora_scale": "DoRA", "oft_": "OFT",
    "lora_magnitude_vector": "DoRA", "lora_embedding_": "LoRA of an embedding", "boft_": "BOFT", "ia3_": "IA3", ".diff": "full differences",
    "lora_B.bias": "LoRA with a bias", "modules_to_save": "layers that are saved whole",
}  # fmt: skip
# settings of peft that change what is computed, each with the only value that is built
ONLY = {
    "peft_type": ("LORA",), "use_dora": (False,), "bias": ("none",), "modules_to_save": ([],), "fan_in_fan_out": (False,),
    "lora_bias": (False,), "trainable_token_indices": ([], {}), "target_parameters": ([],), "layer_replication": ([],),
    "init_lora_weights": (True, False, "gaussian", "eva", "orthogonal"), "use_qalora": (False,), "alora_invocation_tokens": ([],), "velora_config": ({},), "megatron_config": ({},),
}  # fmt: skip
MERGE = "Merge them into the weights with the library that trained them (peft: merge_and_unload; diffusers: fuse_lora)."


@dataclass(frozen=True)
class LowRank:
    """The adapter of one layer. down [r I ...], up [O r ...]: of a linear map or a convolution. scale: of their product."""

    down: Tensor
    up: Tensor
    scale: float = 1.0

    @property
    def rank(self) -> int:
        return len(self.down)

    def added_to(self, weight: Tensor, name: str) -> Tensor:
        """W + scale up down, in fp32. Mistake where the shapes are not those of the layer."""
        low, high = self.down.float().flatten(1), self.up.float().flatten(1)
        fits = high.shape[1] == len(low) and (len(high), low.shape[1]) == tuple(weight.flatten(1).shape)
        if not fits:
            raise Mistake(
                f"The adapter of '{name}' does not fit its layer.",
                f"It is {list(self.up.shape)} times {list(self.down.shape)}, the weight is {list(weight.shape)}.",
                "It was trained for another model: name that one.",
            )
        return weight.float() + self.scale * (high @ low).view_as(weight)


@dataclass(frozen=True)
class Scaling:
    """The scales of peft's settings. alpha None: the rank. own: patterns of layers -> an alpha of their own."""

    alpha: float | None = None
    root: bool = False
    own: Mapping[str, float] | None = None

    @classmethod
    def of(cls, settings: JsonSettings) -> Scaling:
        """Mistake for settings of peft that change what is computed and are not built."""
        strange = [
            f"{name}={settings.values[name]}"
            for name, values in ONLY.items()
            if name in settings and settings.values[name] not in values
        ]
        if strange:
            what = f"The adapters in {settings.file} are of a kind that is not built."
            raise Mistake(what, f"Their settings have {', '.join(strange)}.", MERGE)
        own = settings.inner("alpha_pattern")
        for pattern in own.values:
            try:
                re.compile(pattern)
            except re.error:
                own.refuse(pattern, "under a pattern of names of layers")
        alpha = settings.number("lora_alpha") if "lora_alpha" in settings else None
        return cls(alpha, settings.flag("use_rslora"), {name: own.number(name) for name in own.values})

    def __call__(self, layer: str, rank: int) -> float:
        """Of a layer, by its name in the network."""
        matches = (value for key, value in (self.own or {}).items() if re.match(rf"(.*\.)?({key})$", layer))
        alpha = next(matches, rank if self.alpha is None else self.alpha)
        return alpha / (rank**0.5 if self.root else rank)


def read_adapters(
    tensors: Mapping[str, Tensor], where: Path, scaling: Callable[[str, int], float]
) -> dict[str, LowRank]:
    """The adapters in a file's tensors: name of the layer, as the file has it -> adapter. scaling: of a layer and its rank, where no
    alpha stands beside its halves. Mistake for other tensors, and for halves without the other."""
    halves: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = next((match for one in SPELLINGS if (match := re.fullmatch(one, name))), None)
        other = next((kind for sign, kind in OTHERS.items() if sign in name), None)
        if other or not match:
            why = (
                f"It is {other}, which is not built."
                if other
                else "Names of peft, diffusers and kohya's scripts are known."
            )
            raise Mistake(f"'{name}' in {where} is no low-rank adapter that is known here.", why, MERGE)
        groups = match.groupdict()
        layer = groups["layer"] + (f".{groups['map']}" if groups.get("map") else "")
        halves.setdefault(layer, {})[HALF.get(groups["half"], ALPHA)] = tensor
    adapters = {}
    for layer, parts in halves.items():
        missing = [half for half in (DOWN, UP) if half not in parts]
        if missing or parts[UP].flatten(1).shape[1] != len(parts[DOWN]):
            why = f"Missing: {' and '.join(missing)}." if missing else "Its halves have different ranks."
            raise Mistake(f"The adapter of '{layer}' in {where} is not whole.", why, "Copy the file again.")
        rank = len(parts[DOWN])
        scale = float(parts[ALPHA]) / rank if ALPHA in parts else scaling(layer, rank)
        adapters[layer] = LowRank(parts[DOWN], parts[UP], scale)
    return adapters


def is_peft(where: Path) -> bool:
    """Whether a folder has peft's adapters."""
    return (where / PEFT).is_file() and any((where / name).is_file() for name in PEFT_WEIGHTS)


def read_peft(where: Path) -> dict[str, LowRank]:
    """The adapters of a folder of peft's: name of the layer in the network -> adapter. Mistake for kinds that are not built."""
    scaling = Scaling.of(JsonSettings.read(where / PEFT))
    file = next(where / name for name in PEFT_WEIGHTS if (where / name).is_file())
    tensors = {name.removeprefix("base_model.model."): tensor for name, tensor in read(file).items()}
    return read_adapters(tensors, file, scaling)


def header_scaling(file: Path, part: str) -> Scaling:
    """The scales that the header of diffusers' file has for a part of a pipeline, "unet"."""
    if file.suffix != ".safetensors":
        return Scaling()
    with safe_open(file, "pt") as opened:
        text = (opened.metadata() or {}).get("lora_adapter_metadata", "{}")
    try:
        header = json.loads(text)
    except ValueError:
        header = {}
    own = {
        name.removeprefix(f"{part}."): value
        for name, value in dict(header).items()
        if name.startswith(f"{part}.")
    }
    return Scaling.of(JsonSettings(file, own, "lora_adapter_metadata: "))


def merged(tensors: Mapping[str, Tensor], adapters: Mapping[str, LowRank], where: Path) -> dict[str, Tensor]:
    """The tensors of a network with adapters added to the weights of their layers. Mistake for a layer that it does not have."""
    merged_tensors = dict(tensors)
    lacking = [layer for layer in adapters if f"{layer}.weight" not in merged_tensors]
    if lacking:
        raise Mistake(
            f"The adapters in {where} are for another model.",
            f"It has no layer '{lacking[0]}'" + f" and {len(lacking) - 1} more" * (len(lacking) > 1) + ".",
            "Name the model that they were trained for.",
        )
    with torch.no_grad():
        for layer, adapter in adapters.items():
            merged_tensors[f"{layer}.weight"] = adapter.added_to(merged_tensors[f"{layer}.weight"], layer)
    return merged_tensors
