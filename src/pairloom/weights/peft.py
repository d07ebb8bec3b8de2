"""Adapters as peft saves them (adapter_config.json, adapter_model.safetensors): the model that they were trained for, with them.

Facts: base_model_name_or_path is a folder, or a hub id that is looked up in the local cache; the folder may also be that of the
model itself, which its own layout then reads. Adapters of CLIP and BLIP of transformers are taken; those of a Stable Diffusion
lie in the folders of its parts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pairloom.checkpoints.hub import cached
from pairloom.checkpoints.settings import JsonSettings
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.weights import transformers_blip, transformers_clip, transformers_siglip
from pairloom.weights._low_rank import PEFT, is_peft

LAYOUTS: tuple[Any, ...] = (transformers_clip, transformers_blip, transformers_siglip)


def sniff(where: Path) -> bool:
    """Whether a path is a folder with peft's adapters and without a model of its own."""
    return where.is_dir() and is_peft(where) and not any(layout.sniff(where) for layout in LAYOUTS)


def load(where: Path) -> Model:
    """Load the model that the adapters were trained for, and add them to its weights. Mistake where it is not on this machine."""
    name = JsonSettings.read(where / PEFT).text("base_model_name_or_path", "")
    base = _folder(name, where)
    layout = next((one for one in LAYOUTS if base is not None and one.sniff(base)), None)
    if base is None or layout is None:
        why = f"It was trained for '{name}', which is neither here nor in the local cache."
        if base is not None:
            why = f"It was trained for '{name}', which is no CLIP or BLIP of transformers."
        elif not name:
            why = "It does not say for which model it was trained."
        do = "Copy both files of the adapter into the folder of its model (of a Stable Diffusion: into its unet/), and name that."
        raise Mistake(f"{where} is an adapter of peft without its model.", why, do)
    model: Model = layout.load(base, where)
    model.about["adapters"] = where.name
    return model


def _folder(name: str, where: Path) -> Path | None:
    """The folder of the model: a path, one beside the adapters' folder, or in the cache."""
    places = [Path(name), where.parent / name] if name else []
    return next((place for place in places if place.is_dir()), None) or (cached(name) if name else None)
