"""Models on a frozen image tower: a system whose image network is replaced by a pretrained one, built and read.

A system's file says what its image network returns and where that is (`System.image_network`).
Does not know: sets of pairs, training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from pairloom import registry
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.frozen.tower_rows import TowerPixels, TowerRows, demand_tower
from pairloom.model import Model, build
from pairloom.model.folder import load_folder

PATCH = 32  # most pixels of a patch of the network that is replaced


def build_on_tower(
    name: str, tokens: Tokens, rows: TowerRows, preset: str = "tiny", settings: Iterable[str] = (), seed: int = 0
) -> Model:  # fmt: skip
    """A fresh model of a system whose image network is a frozen tower; the arguments are those of `build`.

    Mistake where the system cannot stand on a tower, and as `build` raises.
    """
    demand_on_tower(name)
    pixels = TowerPixels.of(rows.where)
    patch = next(side for side in range(PATCH, 0, -1) if pixels.size % side == 0)
    sizes: tuple[str, ...] = (f"image_size={pixels.size}", f"patch={patch}", f"image_width={rows.width}")
    if "vision" in {entry.name for entry in fields(registry.find("systems", name).Config)}:
        sizes += ("vision=none",)  # an image encoder of the preset gives way to the tower
    model = build(name, tokens, preset, (*sizes, *settings), seed)
    _put_tower(model.system, rows)
    return replace(model, feed=pixels, about={**model.about, "image tower": rows.where})


def load_on_tower(where: Path, document: Mapping[str, Any]) -> Model:
    """The model of a folder whose config.json names a tower. Mistake where the tower is missing or is another one."""
    known = document["pixels"]
    try:
        demand_tower(known["tower"], known["identity"])
    except Mistake as mistake:
        what = f"The model {where} cannot be used without its image tower."
        raise Mistake(what, f"{mistake.what} {mistake.why}".strip(), mistake.do) from mistake
    return load_folder(where, document, TowerPixels.of(known["tower"]), partial(_new_tower, known["tower"]))


def demand_on_tower(name: str) -> None:
    """Raise Mistake where a system has no image network that a tower could replace."""
    if not hasattr(registry.find("systems", name).System, "image_network"):
        able = [one for one in registry.names("systems") if _can(one)]
        raise Mistake(f"{name} cannot stand on an image tower.", "", f"Able are: {', '.join(able)}.")


def _can(name: str) -> bool:
    return hasattr(registry.find("systems", name).System, "image_network")


def tower_rows(system: nn.Module) -> TowerRows | None:
    """The tower of a system that stands on one."""
    return next((part for part in system.modules() if isinstance(part, TowerRows)), None)


def keep_tower(before: nn.Module, system: nn.Module) -> None:
    """Put the tower of a system, where it stands on one, into a new one with another config."""
    if (rows := tower_rows(before)) is not None:
        _put_tower(system, rows)


def _new_tower(tower: str, system: nn.Module) -> None:
    """Replace the image network of a system by a tower whose axes are loaded afterwards."""
    _put_tower(system, TowerRows(tower, system.config.image_width))


def _put_tower(system: nn.Module, rows: TowerRows) -> None:
    """Replace the image network of a system, wherever it has one (a momentum teacher has its own)."""
    rows.form, *places = system.image_network
    names = {name for name, _ in system.named_modules()}
    for place in places:
        if place in names:
            holder, _, last = place.rpartition(".")
            setattr(system.get_submodule(holder), last, rows)
