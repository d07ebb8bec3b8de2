"""Systems on a frozen image tower: a pretrained network in place of the system's own (docs/towers.md)."""

from pairloom.frozen.encoded_once import encode_once, forget, learn_rows
from pairloom.frozen.frozen_model import (
    build_on_tower,
    demand_on_tower,
    keep_tower,
    load_on_tower,
    tower_rows,
)
from pairloom.frozen.tower_rows import TowerPixels, TowerRows

__all__ = [
    "TowerPixels", "TowerRows", "build_on_tower", "demand_on_tower", "encode_once", "forget", "keep_tower", "learn_rows",
    "load_on_tower", "tower_rows",
]  # fmt: skip
