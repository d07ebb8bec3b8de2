"""Encoded image bytes -> RGB pixels and facts, whatever the bytes are.

Does not know: texts, models. Colour profiles are not applied. Anything that cannot be decoded is `Unreadable`.
"""

from __future__ import annotations

import io
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pairloom.data.deep_pixels import (
    as_four_bytes,
    deep_colour,
    deep_grey,
    eight_bits,
    in_range,
    take_low_bytes,
)

LIMIT = 178_956_970  # pixels: above it Pillow refuses too; at 3 bytes a pixel this is half a gigabyte
# decoders that only compute: none that starts a program (EPS) or takes any bytes for a picture (TGA, PCX)
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO")
PAGED = (
    "GIF",
    "PNG",
    "WEBP",
    "AVIF",
    "TIFF",
)  # kinds with several frames or pages; an MPO holds other views of its picture
ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
PNG, NEEDLESS = (
    b"\x89PNG\r\n\x1a\n",
    (b"tEXt", b"zTXt", b"iTXt", b"iCCP"),
)  # chunks without which a PNG is the same picture
CALM = ("JPEG", "PNG", "WEBP", "GIF", "BMP")  # decoders that do not warn: threads may decode side by side
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # EXIF orientation -> what turns the stored picture upright

_quiet = threading.Lock()
# as a person has it: a path, encoded bytes, a PIL image, an array [H W], [H W 1], [H W 3] or [H W 4]
Decoded = TypeVar("Decoded")
Picture: TypeAlias = str | os.PathLike[str] | bytes | Image.Image | NDArray[Any]


class Unreadable(ValueError):
    """Bytes that give no picture; the message is the reason, in words for people."""


@dataclass(frozen=True)
class Facts:
    """What the header says. width, height: upright, after EXIF rotation. orientation: EXIF's 1 (upright) to 8."""

    width: int
    height: int
    format: str
    mode: str
    orientation: int
    animated: bool
    alpha: bool
    cmyk: bool
    deep: bool  # 16 bits or more a channel


def facts(data: bytes, limit: int = LIMIT) -> Facts:
    """The facts of encoded bytes without decoding pixels. Raises Unreadable."""
    return _again(data, lambda data: _facts_of(data, limit))


def _facts_of(data: bytes, limit: int) -> Facts:
    with _decoding():
        image, orientation = _open(data, limit)
        return _facts(image, orientation, data)


def _again(data: bytes, decode: Callable[[bytes], Decoded]) -> Decoded:
    """What `decode` makes of the bytes; where it fails on a PNG, of the PNG without texts and colour profile, which decoders
    refuse above a length of their own."""
    try:
        return decode(data)
    except Unreadable:
        bare = _bare_png(data)
        if len(bare) == len(data):
            raise
        return decode(bare)


def _bare_png(data: bytes) -> bytes:
    """A PNG without the chunks that are not needed for its pixels; other bytes as they are."""
    if not data.startswith(PNG):
        return data
    at, kept = len(PNG), [PNG]
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] not in NEEDLESS:
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def _facts(image: Image.Image, orientation: int, data: bytes) -> Facts:
    animated = False
    if image.format in PAGED:
        with _silenced():
            animated = bool(getattr(image, "is_animated", False))  # looks for a second frame
    width, height = _stored(image)
    if orientation >= 5:
        width, height = height, width
    return Facts(
        width,
        height,
        image.format or "",
        image.mode,
        orientation,
        animated,
        image.mode in ALPHA or "transparency" in image.info,
        image.mode == "CMYK",
        image.mode.startswith(("I", "F")) or _bits(image, data) > 8,
    )


def open_image(data: bytes, limit: int = LIMIT, shrink_to: int | None = None) -> Image.Image:
    """The picture as an upright RGB image.

    EXIF rotation is applied; transparency is laid over white; 16-bit and float values are scaled to 8 bits, not
    clipped; of an animation the first frame is taken. limit: most pixels (LIMIT at the highest).
    shrink_to: only this many pixels of the shorter side are needed: a JPEG may be decoded at 1/2, 1/4 or 1/8 size.
    Raises Unreadable for empty, broken, truncated or too large images and for what is no image.
    """
    return read_image(data, limit, shrink_to)[0]


def squashed(image: Image.Image, size: int) -> np.ndarray:
    """[size size 3] uint8 of an RGB image, whatever its shape; large ones are reduced first."""
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=2.0))


def as_image(picture: Picture) -> Image.Image:
    """A picture as a person has it, a path, encoded bytes, a PIL image or an array, as an upright RGB image.

    Arrays are [H W], [H W 1], [H W 3] or [H W 4]; floats are 0 to 1. Raises Unreadable, or OSError for a path.
    """
    if isinstance(picture, (str, os.PathLike)):
        return open_image(Path(picture).read_bytes())
    if isinstance(picture, bytes):
        return open_image(picture)
    if isinstance(picture, np.ndarray):
        picture = _from_array(picture)
    if not isinstance(picture, Image.Image):
        raise TypeError(f"a picture is a path, bytes, a PIL image or an array, not {type(picture).__name__}")
    with _decoding():
        return _rgb(ImageOps.exif_transpose(picture))


def _from_array(values: np.ndarray) -> Image.Image:
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if not values.size or values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (3, 4)):
        raise Unreadable(
            f"an array of shape {list(values.shape)} is no picture: give [H W], [H W 3] or [H W 4]"
        )
    return Image.fromarray(values if values.dtype == np.uint8 else eight_bits(values))


def read_image(data: bytes, limit: int = LIMIT, shrink_to: int | None = None) -> tuple[Image.Image, Facts]:
    """`open_image` and `facts` of the same bytes, with the header read once."""
    return _again(data, lambda data: _read(data, limit, shrink_to))


def _read(data: bytes, limit: int, shrink_to: int | None) -> tuple[Image.Image, Facts]:
    with _decoding():
        image, orientation = _open(data, limit)
        known = _facts(image, orientation, data)
        if shrink_to is not None and image.format == "JPEG":
            image.draft(None, _least(image.size, shrink_to))
        upright = image.format == "TIFF"  # Pillow turns these while it loads them
        with nullcontext() if image.format in CALM else _silenced():
            image.load()
        image = _rgb(_stretched(image, data) if known.deep and image.mode in ("RGB", "RGBA", "LA") else image)
        return image if upright or orientation not in TURNS else image.transpose(TURNS[orientation]), known


def _least(size: tuple[int, int], side: int) -> tuple[int, int]:
    """The smallest size of the same shape whose shorter side has `side` pixels."""
    scale = side / min(size)
    return max(1, -int(-size[0] * scale // 1)), max(1, -int(-size[1] * scale // 1))


@contextmanager
def _decoding() -> Iterator[None]:
    """Whatever a decoder raises on strange bytes becomes Unreadable."""
    try:
        yield
    except Unreadable:
        raise
    except Image.DecompressionBombError as error:
        count = re.search(r"\d+", str(error))
        raise Unreadable(_too_many(int(count[0]) if count else 0, LIMIT)) from error
    except Image.UnidentifiedImageError as error:
        raise Unreadable("not an image, or of a kind that is not read") from error
    except (
        Exception
    ) as error:  # decoders fail in every way there is: struct.error, IndexError, MemoryError ...
        reason = str(error) or type(error).__name__
        cut = re.search(
            r"truncat|unexpected end|broken data stream|not enough|image data", reason, re.IGNORECASE
        )
        raise Unreadable(f"image is cut off: {reason}" if cut else f"image is broken: {reason}") from error


def _too_many(count: int, limit: int) -> str:
    return f"image has {count:,} pixels, more than the limit of {limit:,}"


@contextmanager
def _silenced() -> Iterator[None]:
    """No warnings. The filters are the whole process's, so only one thread at a time may be in here."""
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@lru_cache(maxsize=1)
def _known() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _open(data: bytes, limit: int) -> tuple[Image.Image, int]:
    """The image, header read, and its EXIF orientation. Pillow warns of much in headers that is handled here."""
    if not data:
        raise Unreadable("image has 0 bytes")
    with _silenced():
        image = Image.open(io.BytesIO(data), formats=_known())
        if image.width * image.height > limit:
            raise Unreadable(_too_many(image.width * image.height, limit))
        if min(image.size) < 1:
            raise Unreadable("image has no pixels")
        try:
            orientation = image.getexif().get(0x0112, 1)
        except Exception:  # broken EXIF does not make a picture unreadable
            orientation = 1
    return image, orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _stored(image: Image.Image) -> tuple[int, int]:
    """Width and height as stored. Of a TIFF some versions of Pillow give them turned before it is loaded."""
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        return int(tags[256]), int(tags[257])
    return image.size


def _bits(image: Image.Image, data: bytes) -> int:
    """Bits a channel as stored: Pillow gives 16-bit colour as 8-bit."""
    if image.format == "PNG":
        return data[24]
    if image.format == "TIFF":
        bits = image.tag_v2.get(258, (1,))  # type: ignore[attr-defined]
        return max(bits) if isinstance(bits, tuple) else int(bits)
    return 8


def _stretched(image: Image.Image, data: bytes) -> Image.Image:
    """A picture of 16-bit colour, or of grey with alpha, that fills less than a quarter of the range (10 or 12 bits in 16), stretched
    as deep grey is; all others as they are. Pillow decodes the high bytes alone, so that the low ones are decoded by themselves."""
    bands = image.convert("RGB").getextrema()
    if max(high for _, high in bands) - min(low for low, _ in bands) > 64:  # type: ignore[operator,misc]
        return image
    if image.format == "PNG" and data[25] == 4:  # grey with alpha
        with _silenced():
            return deep_grey(Image.open(io.BytesIO(as_four_bytes(data)), formats=_known()))
    low = Image.open(io.BytesIO(data), formats=_known())
    if not take_low_bytes(low):
        return image
    with _silenced():
        low.load()
    return deep_colour(image, low)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(eight_bits(in_range(np.asarray(image))))
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
