"""Flickr30k-order (Yuksekgonul et al. 2023, arXiv 2210.01936): a caption of a picture against four shufflings of its words.

Does not know: how the words are shuffled; see _orders.
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
    """flickr30k_val.json with spaCy, or flickr30k_order.json prepared."""
    return read_orders(root, ANNOTATIONS, PREPARED)


def mini(out: Path, seed: int, count: int = 50) -> dict[Path, Scene]:
    """Drawn pictures with two captions each."""
    return mini_orders(out, seed, ANNOTATIONS, PREPARED, "flickr30k-images", count)
