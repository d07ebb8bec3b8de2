"""ImageCoDe, video sets (Krojer et al. 2022, arXiv 2203.15867): one caption, ten frames of one video or of similar videos.

The larger and harder part of ImageCoDe, which GDBench's paper leaves out and its code supports. The static sets are
imagecode.py.
"""

from __future__ import annotations

from pathlib import Path

from pairloom.bench._case import Cases
from pairloom.bench._drawn import Studio
from pairloom.bench.imagecode import STATIC, VIDEO, measures, mini_sets, read_sets
from pairloom.world import Scene

CLAIM = "ImageCoDe, video sets: which of ten frames a caption was written for"
FOLDERS = ("imagecode",)
__all__ = ["CLAIM", "FOLDERS", "measures", "mini", "read"]


def read(root: Path) -> Cases:
    """Read valid_data.json: {set: {"index": caption}}; pictures: image-sets/SET/img0.jpg ... img9.jpg."""
    return read_sets(root, static=False)


def mini(out: Path, seed: int, count: int = 24) -> dict[Path, Scene]:
    """Miniature: that of imagecode, since the drawn world has no videos."""
    return mini_sets(Studio(out, "imagecode_video", seed), count, VIDEO, STATIC)
