"""Perceptual hash of a picture: its lowest DCT frequencies, from which hashes and likeness of turned and cropped copies follow.

The descriptor is computed from one thumbnail of one decoding (`audit.look`), so that every step of the job has the same.
Sources: pHash (Zauner 2010): signs of the DCT's low frequencies; the turns and crops are linear in these.

Does not know: pairs, files, sets.

n pictures, F x F frequencies of a descriptor, B x B of a hash.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Region = tuple[float, float, float, float]  # left, top, right, bottom; the whole picture is WHOLE

SIDE = 64  # pixels a side of the thumbnail
F, B = 12, 8
SIZE = F * F + 2  # bytes of a descriptor: the frequencies, and two of colour
LEAST = 1.5  # grey levels of standard deviation: a flatter picture has no descriptor
SURE = 100  # of 127**2: a smaller frequency has the sign of noise, and counts as negative
LIKE = 0.98  # correlation of the frequencies of two copies
GREY, TINT = 2.0, 0.35  # mean colour that counts as none; how far that of a copy may be off, as a share
WHOLE: Region = (0.0, 0.0, 1.0, 1.0)
CUT, BAR = 0.05, 0.15  # what a crop takes off a side; the height of a caption bar
CROPS: tuple[Region, ...] = tuple(
    (float(left), float(top), 1.0 - right, 1.0 - bottom)
    for left, top, right, bottom in [
        (CUT, CUT, 0, 0), (0, CUT, CUT, 0), (CUT, 0, 0, CUT), (0, 0, CUT, CUT),
        (CUT, 0, 0, 0), (0, CUT, 0, 0), (0, 0, CUT, 0), (0, 0, 0, CUT),
        (CUT / 2, CUT / 2, CUT / 2, CUT / 2), (CUT, CUT, CUT, CUT),
    ]
)  # fmt: skip
WITHOUT_BAR: tuple[Region, ...] = ((0.0, 0.0, 1.0, 1 - BAR), (0.0, BAR, 1.0, 1.0))
TURNS = tuple((swap, across, down) for swap in (False, True) for across in (False, True) for down in (False, True))  # fmt: skip


def describe(thumbnail: Image.Image, grey: Floats) -> NDArray[np.int8]:
    """Descriptor [SIZE] of a picture, from its RGB thumbnail and the grey levels of that: frequencies of its brightness, as the
    signed root of their share of the largest in 127 steps, and its mean colour (Cb, Cr). All 0 where the picture is nearly flat."""
    values = np.zeros(SIZE, np.float32)
    if deviation(grey) < LEAST:
        return values.astype(np.int8)
    basis = _basis(0.0, 1.0, F, SIDE)
    values[: F * F] = (basis @ grey @ basis.T).ravel()
    values[0] = 0  # the mean, which brightness changes
    sizes = np.abs(values)
    descriptor = np.rint(np.copysign(np.sqrt(sizes / sizes.max()), values) * 127).astype(np.int8)
    _, blue, red = thumbnail.reduce(SIDE).convert("YCbCr").tobytes()
    descriptor[F * F :] = max(blue - 128, -127), max(red - 128, -127)
    return descriptor


def grey_levels(thumbnail: Image.Image) -> Floats:
    """The brightness [SIDE SIDE] of an RGB thumbnail."""
    return np.frombuffer(thumbnail.convert("L").tobytes(), np.uint8).reshape(SIDE, SIDE).astype(np.float32)


def deviation(values: Floats) -> float:
    """Standard deviation of all values."""
    flat = values.ravel()
    return float(np.sqrt(max(float(flat @ flat) / flat.size - float(flat.mean()) ** 2, 0.0)))


def frequencies(descriptors: NDArray[np.int8], region: Region = WHOLE) -> Floats:
    """The B x B lowest frequencies [n B B] of a region of the pictures with these descriptors [n SIZE]."""
    values: Floats = descriptors[:, : F * F].astype(np.float32).reshape(-1, F, F)
    values *= np.abs(values)
    left, top, right, bottom = region
    if region == WHOLE:
        return values[:, :B, :B]
    return np.asarray(_crop(top, bottom) @ values @ _crop(left, right).T, np.float32)


def turned(values: Floats, turn: tuple[bool, bool, bool]) -> Floats:
    """Frequencies [n B B] of the pictures after a turn: (rows and columns exchanged, then mirrored across, then down)."""
    swap, across, down = turn
    values = values.transpose(0, 2, 1) if swap else values
    signs = np.where(np.arange(B) % 2, -1, 1).astype(np.float32)
    return values * (signs if across else 1) * (signs[:, None] if down else 1)


def hashes(values: Floats) -> NDArray[np.uint64]:
    """Hashes [n] of frequencies [n B B]: the 63 signs (see SURE) without the mean, and a 1 for it; 0 for a picture without a descriptor."""
    flat = values.reshape(-1, B * B)
    signs = flat > SURE
    signs[:, 0] = True
    packed = np.packbits(signs, axis=1).view(">u8").astype(np.uint64).reshape(-1)
    return np.where(flat[:, 1:].any(axis=1), packed, np.uint64(0))


def alike(one: Floats, other: Floats) -> NDArray[np.bool_]:
    """Whether pictures are copies by their frequencies [n B B], row by row: a correlation of at least LIKE."""
    return likeness(one, other) >= LIKE


def likeness(one: Floats, other: Floats) -> Floats:
    """Correlation [n] of frequencies [n B B] without the mean, row by row."""
    a, b = (values.reshape(-1, B * B)[:, 1:] for values in (one, other))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray(np.einsum("nf,nf->n", a, b) / np.maximum(norms, 1e-9), np.float32)


def same_colour(one: NDArray[np.int8], other: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Whether pictures may be of the same colours by their descriptors [n SIZE], row by row. One without colour may be a copy of
    any."""
    a, b = (descriptors[:, F * F :].astype(np.float32) for descriptors in (one, other))
    strong, weak = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    strong, weak = np.maximum(strong, weak), np.minimum(strong, weak)
    grey: NDArray[np.bool_] = weak <= GREY
    return grey | (np.linalg.norm(a - b, axis=1) <= GREY + TINT * strong)


@cache
def _basis(start: float, stop: float, count: int, pixels: int) -> Floats:
    """Integrals [count pixels] of the cosines of an interval of 0..1 over each of the pixels of 0..1, orthonormal on it."""
    edges = (np.clip(np.arange(pixels + 1) / pixels, start, stop) - start) / (stop - start)
    order = np.arange(count)[:, None]
    primitive = np.where(order, np.sin(np.pi * order * edges) / (np.pi * np.maximum(order, 1)), edges)
    scale = np.where(order, np.sqrt(2), 1)
    return (np.diff(primitive, axis=1) * scale).astype(np.float32)


@cache
def _crop(start: float, stop: float) -> Floats:
    """Frequencies of an interval from those of the whole [B F]."""
    fine = 512
    whole = _basis(0.0, 1.0, F, fine) * fine
    return (_basis(start, stop, B, fine) @ whole.T).astype(np.float32)
