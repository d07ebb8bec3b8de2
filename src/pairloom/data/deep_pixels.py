"""Pixels of more than 8 bits, 16-bit integers and floats, as 8 bits: scaled by their kind, or stretched where they fill little of it.

Does not know: files, formats.
"""

from __future__ import annotations

import sys
import zlib
from typing import Any

import numpy as np
from PIL import Image

LEVELS = 32  # distinct grey values of a picture: below it is one colour with noise, or a mask
LOW_BYTES = {
    f"{mode};16{one}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA")
    for one, other in ("LB", "BL", "NB" if sys.byteorder == "little" else "NL")
}  # a decoder's raw mode of 16-bit colour, of which it gives the high bytes -> the one that gives the low bytes


def take_low_bytes(image: Image.Image) -> bool:
    """Let a picture of 16-bit colour, opened and not loaded, decode to the low bytes of its values; False where it cannot."""
    if not image.tile or not all(_raw_mode(tile) in LOW_BYTES for tile in image.tile):  # type: ignore[attr-defined]
        return False
    image.tile = [_of_low_bytes(tile) for tile in image.tile]  # type: ignore[attr-defined]
    return True


def _raw_mode(tile: Any) -> str:
    mode = tile[3][0] if isinstance(tile[3], tuple) and tile[3] else tile[3]
    return mode if isinstance(mode, str) else ""


def _of_low_bytes(tile: Any) -> Any:
    """A tile of a picture that its decoder fills with the low bytes of 16-bit colour."""
    mode = LOW_BYTES[_raw_mode(tile)]
    raw = (mode, *tile[3][1:]) if isinstance(tile[3], tuple) else mode
    return (
        tile._replace(args=raw) if type(tile) is not tuple else (*tile[:3], raw)
    )  # a named tuple since Pillow 11


def deep_colour(high: Image.Image, low: Image.Image) -> Image.Image:
    """A picture of 16-bit colour, from its high and its low bytes, as 8 bits: `in_range` of all three colours together."""
    whole = np.asarray(high)[..., :3].astype(np.uint16) * 256 + np.asarray(low)[..., :3]
    colours = Image.fromarray(eight_bits(in_range(whole)))
    if high.mode == "RGBA":
        colours.putalpha(high.getchannel("A"))
    return colours


def as_four_bytes(png: bytes) -> bytes:
    """A PNG of 16-bit grey with alpha as one of four colours of 8 bits, which are the high and the low bytes of both: its rows lie, and
    are filtered, in the same way."""
    header = png[16:24] + b"\x08\x06" + png[26:29]
    return png[:16] + header + zlib.crc32(b"IHDR" + header).to_bytes(4, "big") + png[33:]


def deep_grey(four: Image.Image) -> Image.Image:
    """A picture of 16-bit grey with alpha (`as_four_bytes`) as 8 bits: `in_range` of the grey."""
    values = np.asarray(four).astype(np.uint16)
    grey = Image.fromarray(eight_bits(in_range(values[..., 0] * 256 + values[..., 1])))
    return Image.merge("LA", (grey, four.getchannel("B")))


def in_range(values: np.ndarray) -> np.ndarray:
    """Decoded grey values, stretched to 0..255 where a picture of many LEVELS fills less than a quarter of what its kind holds:
    8 to 14 bits in 16 (scanners, X-rays, microscopes), floats. All others as they are.
    """
    wide = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(wide.min()), float(wide.max())
    full = 65535.0 if values.dtype.kind in "iu" else 1.0
    if low < 0 or high > full or high - low >= full / 4 or len(np.unique(wide)) < LEVELS:
        return values
    if full > 1 and high <= 255:
        return values.astype(np.uint8)
    return (wide - low) * ((255 if full > 1 else 1) / (high - low))


def eight_bits(values: np.ndarray) -> np.ndarray:
    """Grey values of any range as 0..255: 0..1 floats and 16-bit ints by their range, others stretched to it.

    Ints up to 255 stay as they are. 65535 / 255 = 257 takes 16 bits to 8.
    """
    wide = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(wide.min()), float(wide.max())
    whole = values.dtype.kind in "iu"
    if values.dtype == np.uint16 or (whole and low >= 0 and 255 < high <= 65535):
        wide = wide / 257
    elif not whole and low >= 0 and high <= 1:
        wide = wide * 255
    elif low < 0 or high > 255:
        wide = (wide - low) * (255 / (high - low))
    return np.round(wide).astype(np.uint8)
