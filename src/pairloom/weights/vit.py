"""A vision transformer as the initialisation of an image tower: timm's and DeiT's names, or those of transformers' ViT
classes.

Facts: BLIP base starts from DeiT-B/16 (ImageNet-1k), large from ViT-L/16 (ImageNet-21k); classifier and pooler are not
read, and positions are resized to the size of the pictures.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from torch import nn

from pairloom.checkpoints.layout import Moved, Place, read, take
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.weights import salesforce

PART = "image"  # of a new blip, that `--init image=FOLDER` fills
DROPPED = ("head.", "head_dist.", "pre_logits.", "classifier.", "pooler.", "dist_token", "lm_head.")
TRANSFORMERS = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "norm": "layernorm",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}


def start(model: Model, where: Path) -> Model:
    """Put a vision transformer into the image tower of a new BLIP. Mistake for another system, and where the sizes differ."""
    if model.name != "blip":
        raise Mistake(f"A {model.name} has no image tower that a ViT's weights are put into.", "A blip has.")
    start_from_vit(model.system, where)
    return replace(model, about={**model.about, "image": where.name or str(where)})


def start_from_vit(system: nn.Module, where: Path) -> Moved:
    """Copy a vision transformer's tensors into the image tower of a BLIP. Mistake where the sizes differ, where a tensor
    of the tower is not in the file, or where the file has nothing for an image tower."""
    theirs = {re.sub(r"^(vit|deit)\.", "", name): tensor for name, tensor in read(where).items()}
    there = _transformers if any(name.startswith("encoder.layer.") for name in theirs) else _timm
    image = {
        name: there(place)
        for name, place in salesforce.places(system).items()
        if name.startswith("towers.image.")
    }
    moved = take(theirs, image, system.state_dict())
    moved.left = [name for name in moved.left if not name.startswith(DROPPED)]
    for name in image:
        moved.demand(name, where)
    moved.into(system)
    return moved


def _timm(place: Place) -> Place:
    """The place under timm's names, which Salesforce's are but for a prefix."""
    return Place(tuple(name.removeprefix("visual_encoder.") for name in place.names), place.third)


def _transformers(place: Place) -> Place:
    name = place.names[0].removeprefix("visual_encoder.")
    match = re.fullmatch(r"(?:blocks\.(\d+)\.)?(.+?)(?:\.(weight|bias))?", name)
    assert match
    layer, stem, kind = match.groups()
    before, after = "" if layer is None else f"encoder.layer.{layer}.", "" if kind is None else f".{kind}"
    if place.third is not None:
        return Place((f"{before}attention.attention.{('query', 'key', 'value')[place.third]}{after}",))
    return Place((f"{before}{TRANSFORMERS[stem]}{after}",))
