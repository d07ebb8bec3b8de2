"""Vision tower of a Flamingo: that of any CLIP with a ViT that `pairloom.load` reads, put into a new Flamingo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from pairloom.blocks.tensors import put_tensors, tensors_of
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.systems.flamingo import System
from pairloom.weights import load

PART = "vision"


def start(model: Model, where: Path) -> Model:
    """Replace the vision tower of a new Flamingo, and prepare its pictures as for that tower. Mistake where `where` is no CLIP
    with a ViT."""
    tower = load(where)
    if model.name != "flamingo" or tower.name != "clip" or tower.config.stages or tower.config.vision:
        raise Mistake(
            f"{where} cannot be the picture tower of a {model.name}.",
            f"It is a {tower.name}{' with a ResNet' if getattr(tower.config, 'stages', ()) else ''}.",
            "Name a CLIP with a ViT.",
        )
    norm_rows = model.config.vision.norm_rows
    config = replace(model.config, vision=replace(tower.config.image_encoder, norm_rows=norm_rows))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        system = System(config)
    kept = {name: value for name, value in tensors_of(model.system).items() if not name.startswith("vision.")}
    shapes = {name: value.shape for name, value in tensors_of(system).items()}
    fits = {name: value for name, value in kept.items() if shapes.get(name) == value.shape}
    fresh = {name: value for name, value in tensors_of(system).items() if name not in fits}
    put_tensors(system, fits | fresh)
    theirs = tensors_of(tower.system)
    put_tensors(system.vision, {name: theirs[name] for name in tensors_of(system.vision)})
    return replace(
        model, system=system, feed=tower.pixels, about={**model.about, "vision": where.name or str(where)}
    )
