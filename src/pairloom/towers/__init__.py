"""Pretrained encoders of one modality: frozen image and text towers with published weights (docs/towers.md)."""

from pairloom.towers.image_tower import ImageTower
from pairloom.towers.load_image import load_image_tower
from pairloom.towers.load_text import load_text_tower
from pairloom.towers.published import NONE, published_towers, wanted_towers
from pairloom.towers.text_tower import TextTower

__all__ = [
    "NONE",
    "ImageTower",
    "TextTower",
    "load_image_tower",
    "load_text_tower",
    "published_towers",
    "wanted_towers",
]
