"""Frame around a picture: a border of one colour on all four sides, which a copy may have and its original not.

Does not know: hashes, pairs, files.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grey = NDArray[np.uint8]
EVEN = 12  # grey levels that a frame may differ by
DARK, EVEN_DARK = 64, 4  # a dark one less: the edge of a scanned film is nearly even, and is no frame
WIDEST = 0.25  # share of a side that a frame may take on each side
FULL = 0.6  # share of the pixels along a frame's inner edge that differ from it: less is a thing on a ground


def has_even_rim(grey: NDArray[np.float32]) -> bool:
    """Whether the outermost pixels of a thumbnail are of one grey, as those of a framed picture are."""
    rim = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return bool(rim.max() - rim.min() <= _even(int(grey[0, 0])))


def inside_frame(image: Image.Image) -> tuple[int, int, int, int] | None:
    """The box of a picture inside its frame (left, top, right, bottom); None where it has no frame."""
    grey = np.asarray(image.convert("L"))
    left, right = _widths(grey.T)
    top, bottom = _widths(grey)
    height, width = grey.shape
    if (
        min(left, right, top, bottom) < 1
        or max(left, right) > WIDEST * width
        or max(top, bottom) > WIDEST * height
    ):
        return None
    # a pixel in from where it ends: that one is mixed with the frame
    box = left + 1, top + 1, width - right - 1, height - bottom - 1
    inner = grey[box[1] : box[3], box[0] : box[2]]
    if min(inner.shape) < 16:
        return None
    sides = (inner[0], inner[-1], inner[:, 0], inner[:, -1])
    full = all(np.mean(_differs(side, int(grey[0, 0]))) >= FULL for side in sides)
    return box if full else None


def _widths(grey: Grey) -> tuple[int, int]:
    """How many rows from the top, and from the bottom, are of the corner's grey."""
    uneven = np.flatnonzero(_differs(grey, int(grey[0, 0])).mean(axis=1) > 0.02)
    return (int(uneven[0]), len(grey) - 1 - int(uneven[-1])) if len(uneven) else (0, 0)


def _differs(grey: Grey, level: int) -> NDArray[np.bool_]:
    return np.abs(grey.astype(np.int16) - level) > _even(level)


def _even(level: int) -> int:
    return EVEN_DARK if level < DARK else EVEN
