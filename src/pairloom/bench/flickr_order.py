"""Flickr30k-order (Yuksekgonul et al. 2023, arXiv 2210.01936): a caption of a picture against four shufflings of its words,
which _orders.py defines.
"""

from __future__ import annotations

from pathlib import Path

from pairloom.bench._case import Cases
from pairloom.bench._orders import measure_orders, mini_orders, read_orders
from pairloom.world import Scene

CLAIM = "Flickr30k-order: the caption among four shufflings of its own words"
FOLDERS = ("flickr_order", "flickr30k_order", "flickr30k")
ANNOTATIONS, PREPARED = "flickr30k_val.json", "flickr30k_order.json"
measures = measure_orders


def read(root: Path) -> Cases:
    """Read flickr30k_val.json with spaCy, or a prepared flickr30k_order.json."""
    return read_orders(root, ANNOTATIONS, PREPARED)


def mini(out: Path, seed: int, count: int = 50) -> dict[Path, Scene]:
    """Miniature: drawn pictures with two captions each."""
    return mini_orders(out, seed, ANNOTATIONS, PREPARED, "flickr30k-images", count)
