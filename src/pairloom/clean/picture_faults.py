"""Faults of pictures that a thumbnail and the header show: blank, dark, over-exposed, blurred, nearly empty, of odd size or shape.

The limits were calibrated on planted faults and on 7,200 photos and drawings without them (docs/log.md).
Does not know: pairs, texts, files.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pairloom.clean.perceptual_hash import SIDE, Floats, deviation
from pairloom.data.pixels import Facts

FILE_FACTS = ("animated", "cmyk", "deep", "alpha")
TINY, SHAPE = 16, 3.0  # pixels of the shorter side; ratio of the sides
FLAT = 1.5  # standard deviation of a blank picture, in grey levels, as are the next four
DARK, BRIGHT = 48, 210  # 99 % of the pixels of a dark picture are below, of an over-exposed one above
NARROW = 60  # range of an over-exposed picture: a wider one is a drawing on white
STEP, GROUND = 2, 0.93  # a ground is within so many levels of one grey; its share of a nearly empty picture
BLUR, EDGES = 0.16, 20  # an edge relative to the range; edges, of 62 x 62, that a sharp picture has
SHARP_SIDE = 48  # pixels of the shorter side: smaller pictures are enlarged, which blurs them
FAR = 8.0  # an odd size is so many times the quartile of the set, each side
SIZED = 20  # pictures of a set in which a size may be odd


def thumbnail(image: Image.Image, box: tuple[int, int, int, int] | None = None) -> Image.Image:
    """The RGB thumbnail [SIDE SIDE] that faults and hash of a picture, or of a box of it, are computed from."""
    return image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box, reducing_gap=3.0)


def picture_faults(small: Image.Image, grey: Floats, known: Facts) -> tuple[list[str], int]:
    """Codes of a picture's faults, and its sharpness, which tells the sharper of two copies. small, grey: its thumbnail, and the grey
    levels of that."""
    sharpness = 0
    codes = [code for code in FILE_FACTS if getattr(known, code)]
    width, height = known.width, known.height
    if min(width, height) < TINY:
        codes.append("tiny")
    if max(width, height) > SHAPE * min(width, height):
        codes.append("extreme_shape")
    if _is_flat(small, deep_colour=known.deep and known.mode == "RGB"):
        codes.append("blank")
    else:
        counts = np.bincount(grey.astype(np.uint8).ravel(), minlength=256)
        below = np.cumsum(counts)
        low, high = np.searchsorted(below, (0.01 * SIDE**2, 0.99 * SIDE**2)).tolist()
        codes += _exposure(counts, below, low, high)
        edges = _edges(grey)
        sharpness = int(1000 * edges.mean() / max(high - low, 1))
        if min(width, height) >= SHARP_SIDE and _is_blurred(edges, high - low):
            codes.append("blurred")
    if known.orientation != 1:
        codes.append("rotated")
    return codes, sharpness


def _is_flat(small: Image.Image, deep_colour: bool) -> bool:
    """Whether the standard deviation of every channel is below FLAT grey levels. Pillow decodes 16-bit colour to its high bytes:
    of such a picture any two levels are no single colour."""
    spread = max(high - low for low, high in small.getextrema())  # type: ignore[misc]
    if (
        spread**2 >= 2 * SIDE**2 * FLAT**2
    ):  # n values of this range have a variance of at least its square / 2 n
        return False
    pixels = np.frombuffer(small.tobytes(), np.uint8).reshape(-1, 3).T.astype(np.float32)
    return all(deviation(channel) < FLAT for channel in pixels) and not (deep_colour and spread > 1)


def _exposure(counts: NDArray[np.int64], below: NDArray[np.int64], low: int, high: int) -> list[str]:
    """Code of a picture that is dark, over-exposed or nearly empty, by the histogram of its grey levels [256], the sums of that,
    and the levels that all but one in a hundred pixels are above, and below."""
    if high < DARK:
        return ["dark"]
    most, levels = int(counts.max()), np.flatnonzero(counts)
    if low > BRIGHT and most < GROUND * SIDE**2 and levels[-1] - levels[0] < NARROW:
        return ["over_exposed"]
    width = 2 * STEP + 1
    if width * most < GROUND * SIDE**2:  # the usual case
        return []
    sums = np.concatenate([np.zeros(1, np.int64), below])
    return ["nearly_empty"] if (sums[width:] - sums[:-width]).max() >= GROUND * SIDE**2 else []


def _edges(grey: Floats) -> Floats:
    """Strength of the edges at each pixel but the outermost: the absolute Laplacian of the grey levels."""
    edges = 4 * grey[1:-1, 1:-1]
    edges -= grey[:-2, 1:-1]
    edges -= grey[2:, 1:-1]
    edges -= grey[1:-1, :-2]
    edges -= grey[1:-1, 2:]
    return np.abs(edges, out=edges)


def _is_blurred(edges: Floats, spread: int) -> bool:
    """Whether less than EDGES pixels have edges that are strong relative to the range of grey levels."""
    if spread < 16 * FLAT:  # JPEG's noise would be its edges
        return False
    return bool(np.count_nonzero(edges >= BLUR * spread) < EDGES)


def odd_sizes(pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of pictures that are far larger or smaller than those of the set, by the root of their pixels [n]; 0: no picture."""
    rows = np.flatnonzero(pixels)
    if len(rows) < SIZED:
        return rows[:0]
    sides = np.log(pixels[rows]) / 2
    low, high = np.quantile(sides, [0.25, 0.75])
    far = np.log(FAR) + (high - low)
    return rows[(sides < low - far) | (sides > high + far)]
