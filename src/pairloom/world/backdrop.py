"""Backgrounds: sky, ground and a few fixtures of a place, drawn once for each place, variant and size, then copied.

No fixture looks like a kind of thing of the catalogue.
Does not know: scenes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from pairloom.world.scene import Turn, turn_of
from pairloom.world.shapes import Number, Points, blob, disc, poly, stroke

RGB = tuple[int, int, int]
VARIANTS = 12
CACHE_BYTES = 64 << 20

SHADES: dict[str, RGB] = {
    "plain": (176, 172, 178), "meadow": (84, 132, 62), "beach": (190, 160, 110), "desert": (186, 124, 72),
    "snow": (176, 190, 212), "night": (26, 34, 50), "room": (128, 88, 60), "sea": (116, 132, 112),
}  # fmt: skip


class Paint:
    """A canvas whose coordinates are fractions of its side."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.image = Image.new("RGB", (side, side))
        self.pen = ImageDraw.Draw(self.image)

    def fill(self, outline: Points, colour: RGB) -> None:
        self.pen.polygon((outline * self.side).ravel().tolist(), fill=colour)

    def fade(self, top: Number, bottom: Number, colours: tuple[RGB, ...]) -> None:
        """A vertical gradient between two heights."""
        first, last = round(top * self.side), round(bottom * self.side)
        along = np.linspace(0, len(colours) - 1, max(1, last - first))
        stops = np.arange(len(colours))
        rows = np.stack([np.interp(along, stops, [c[i] for c in colours]) for i in range(3)], axis=1)
        band = np.broadcast_to(rows[:, None, :], (len(rows), self.side, 3))
        self.image.paste(Image.fromarray(np.ascontiguousarray(band.astype(np.uint8))), (0, first))


def mix(a: RGB, b: RGB, share: float) -> RGB:
    """Linear mixture of two colours, with this share of b."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b))  # type: ignore[return-value]


def ridge(turn: Turn, height: float, swell: float) -> Points:
    """Outline of hills across the picture, closed below."""
    phase, crests = turn.between(0, 6.3), turn.between(0.8, 1.8)
    x = np.linspace(-0.02, 1.02, 40)
    y = height - swell * (np.sin(x * crests * 6.3 + phase) + 0.4 * np.sin(x * crests * 14 + 2 * phase)) / 1.4
    return np.concatenate([np.stack([x, y], 1), [[1.02, 1.02], [-0.02, 1.02]]])


def cloud(paint: Paint, x: float, y: float, wide: float, colour: RGB) -> None:
    for dx, dy, r in ((-0.35, 0.03, 0.2), (0.0, -0.06, 0.27), (0.35, 0.03, 0.19), (0.0, 0.06, 0.22)):
        paint.fill(disc(x + dx * wide, y + dy * wide, r * wide * 1.25, r * wide * 0.8), colour)


def speckle(paint: Paint, turn: Turn, top: float, count: int, colour: RGB, size: float) -> None:
    """Draw specks on the ground; nearer ones are larger."""
    for _ in range(count):
        y = top + (1 - top) * turn.next() ** 0.8
        near = size * (0.35 + (y - top) / (1 - top))
        paint.fill(disc(turn.next(), y, near, near * 0.45), colour)


TUFT = ((-0.5, 0), (-0.6, -1), (-0.1, 0), (0, -1.2), (0.2, 0), (0.6, -1), (0.5, 0))


def tufts(paint: Paint, turn: Turn, count: int, colour: RGB) -> None:
    """Draw blades of grass; nearer ones are larger."""
    for _ in range(count):
        x, y = turn.next(), turn.between(0.7, 1.0)
        tall = 0.01 + 0.035 * (y - 0.66) / 0.34
        paint.fill(np.array(TUFT) * tall + (x, y), colour)


def _plain(paint: Paint, turn: Turn) -> None:
    wall = turn.pick(
        ((236, 232, 240), (226, 238, 242), (246, 236, 222), (230, 242, 228), (244, 228, 230), (236, 236, 232))
    )
    horizon = turn.between(0.58, 0.66)
    paint.fade(0, horizon, (mix(wall, (255, 255, 255), 0.35), wall))
    paint.fade(horizon - 0.02, horizon + 0.08, (wall, mix(wall, (120, 110, 120), 0.16)))
    paint.fade(horizon + 0.08, 1, (mix(wall, (120, 110, 120), 0.16), mix(wall, (150, 140, 150), 0.05)))


def _meadow(paint: Paint, turn: Turn) -> None:
    paint.fade(0, 0.7, ((112, 186, 240), (206, 234, 250)))
    sun = turn.between(0.1, 0.9)
    paint.fill(disc(sun, 0.12, 0.085), (255, 240, 180))
    paint.fill(disc(sun, 0.12, 0.06), (255, 224, 110))
    for _ in range(turn.pick((2, 3))):
        cloud(paint, turn.next(), turn.between(0.06, 0.3), turn.between(0.12, 0.22), (250, 252, 255))
    paint.fill(ridge(turn, 0.58, 0.05), (164, 208, 148))
    paint.fill(ridge(turn, 0.62, 0.03), (138, 194, 112))
    paint.fade(0.68, 1, ((134, 192, 100), (104, 168, 76)))
    paint.fill(ridge(turn, 0.655, 0.012), (134, 192, 100))
    paint.fade(0.69, 1, ((134, 192, 100), (98, 162, 72)))
    tufts(paint, turn, 26, (84, 146, 62))
    for _ in range(9):
        x, y = turn.next(), turn.between(0.7, 1.0)
        paint.fill(
            disc(x, y, 0.006 + 0.006 * (y - 0.7)),
            turn.pick(((255, 250, 240), (252, 224, 130), (240, 190, 214))),
        )


def _beach(paint: Paint, turn: Turn) -> None:
    paint.fade(0, 0.5, ((104, 190, 236), (222, 242, 248)))
    paint.fill(disc(turn.between(0.1, 0.9), 0.13, 0.07), (255, 236, 140))
    for _ in range(2):
        cloud(paint, turn.next(), turn.between(0.08, 0.3), turn.between(0.12, 0.2), (252, 253, 255))
    paint.fade(0.46, 0.7, ((36, 132, 190), (86, 198, 214), (86, 198, 214)))
    for _ in range(8):
        x, y = turn.next(), turn.between(0.49, 0.61)
        paint.fill(stroke(x, y, x + 0.07, y, 0.006), (170, 226, 234))
    paint.fill(ridge(turn, 0.635, 0.012), (246, 250, 248))
    paint.fill(ridge(turn, 0.655, 0.012), (238, 214, 160))
    paint.fade(0.68, 1, ((238, 214, 160), (226, 194, 134)))
    speckle(paint, turn, 0.7, 40, (208, 176, 118), 0.006)
    speckle(paint, turn, 0.7, 10, (250, 236, 206), 0.009)


def _desert(paint: Paint, turn: Turn) -> None:
    paint.fade(0, 0.66, ((250, 176, 118), (253, 226, 176)))
    paint.fill(disc(turn.between(0.15, 0.85), turn.between(0.14, 0.3), 0.08), (255, 244, 206))
    paint.fill(ridge(turn, 0.56, 0.05), (226, 166, 110))
    for _ in range(turn.pick((1, 2, 3))):
        x, s = turn.next(), turn.between(0.09, 0.15)
        y = 0.64
        for part in (
            stroke(x, y, x, y - s, 0.28 * s),
            stroke(x, y - 0.4 * s, x + 0.36 * s, y - 0.45 * s, 0.2 * s),
            stroke(x + 0.36 * s, y - 0.45 * s, x + 0.36 * s, y - 0.8 * s, 0.2 * s),
            stroke(x, y - 0.3 * s, x - 0.36 * s, y - 0.34 * s, 0.2 * s),
            stroke(x - 0.36 * s, y - 0.34 * s, x - 0.36 * s, y - 0.62 * s, 0.2 * s),
        ):
            paint.fill(part, (112, 148, 92))
    paint.fill(ridge(turn, 0.64, 0.02), (236, 184, 120))
    paint.fade(0.68, 1, ((236, 184, 120), (218, 158, 96)))
    for _ in range(7):
        y = turn.between(0.72, 0.99)
        x = turn.between(-0.1, 0.9)
        paint.fill(blob(x, y, x + 0.12, y - 0.012, x + 0.3, y, x + 0.12, y - 0.003), (206, 146, 86))


def _snow(paint: Paint, turn: Turn) -> None:
    paint.fade(0, 0.66, ((158, 186, 222), (228, 236, 246)))
    paint.fill(ridge(turn, 0.52, 0.09), (200, 214, 232))
    paint.fill(ridge(turn, 0.6, 0.04), (218, 228, 242))
    paint.fill(ridge(turn, 0.65, 0.015), (236, 241, 250))
    paint.fade(0.68, 1, ((236, 241, 250), (214, 226, 242)))
    for _ in range(6):
        x, y = turn.next(), turn.between(0.72, 0.98)
        paint.fill(blob(x - 0.1, y, x, y - 0.02, x + 0.12, y, x, y + 0.004), (226, 234, 247))
    for _ in range(46):
        paint.fill(disc(turn.next(), turn.next() * 0.95, turn.between(0.003, 0.008)), (255, 255, 255))


def _night(paint: Paint, turn: Turn) -> None:
    paint.fade(0, 0.7, ((16, 22, 58), (62, 72, 124)))
    for _ in range(44):
        paint.fill(
            disc(turn.next(), turn.next() * 0.55, turn.between(0.002, 0.0055)),
            turn.pick(((250, 246, 220), (200, 210, 250))),
        )
    x, y = turn.between(0.12, 0.88), turn.between(0.1, 0.18)
    paint.fill(disc(x, y, 0.095), (44, 52, 98))
    paint.fill(disc(x, y, 0.065), (250, 244, 214))
    paint.fill(disc(x - 0.02, y - 0.015, 0.014), (226, 218, 186))
    paint.fill(disc(x + 0.022, y + 0.02, 0.01), (226, 218, 186))
    paint.fill(ridge(turn, 0.57, 0.05), (42, 56, 84))
    paint.fill(ridge(turn, 0.64, 0.03), (46, 68, 82))
    paint.fade(0.69, 1, ((50, 76, 84), (36, 56, 68)))
    tufts(paint, turn, 18, (30, 50, 58))


def _room(paint: Paint, turn: Turn) -> None:
    wall = turn.pick(((232, 214, 190), (196, 218, 214), (222, 204, 222), (208, 218, 190), (240, 222, 168)))
    paint.fade(0, 0.64, (wall, mix(wall, (255, 255, 255), 0.2)))
    for column in range(9):
        x = 0.03 + column * 0.12
        paint.fill(poly(x, 0, x + 0.05, 0, x + 0.05, 0.63, x, 0.63), mix(wall, (255, 255, 255), 0.22))
    x = turn.between(0.06, 0.64)
    paint.fill(poly(x, 0.08, x + 0.3, 0.08, x + 0.3, 0.38, x, 0.38), (250, 248, 240))
    paint.fill(poly(x + 0.02, 0.1, x + 0.28, 0.1, x + 0.28, 0.36, x + 0.02, 0.36), (158, 212, 242))
    hill = (x + 0.02, 0.3, x + 0.08, 0.275, x + 0.13, 0.28, x + 0.2, 0.31, x + 0.28, 0.285)
    paint.fill(poly(*hill, x + 0.28, 0.36, x + 0.02, 0.36), (150, 200, 130))
    paint.fill(poly(x + 0.143, 0.09, x + 0.157, 0.09, x + 0.157, 0.37, x + 0.143, 0.37), (250, 248, 240))
    paint.fill(poly(x, 0.223, x + 0.3, 0.223, x + 0.3, 0.237, x, 0.237), (250, 248, 240))
    paint.fade(0.64, 1, ((186, 138, 98), (164, 114, 76)))
    for line in range(-6, 17):
        far, near = 0.5 + (line / 10 - 0.5) * 1.0, 0.5 + (line / 10 - 0.5) * 1.9
        paint.fill(
            poly(far - 0.002, 0.64, far + 0.002, 0.64, near + 0.005, 1, near - 0.005, 1), (146, 100, 66)
        )
    paint.fill(poly(0, 0.62, 1, 0.62, 1, 0.65, 0, 0.65), (250, 244, 232))


def _sea(paint: Paint, turn: Turn) -> None:
    paint.fade(0, 0.8, ((86, 196, 222), (36, 118, 172), (28, 98, 150)))
    for _ in range(4):
        x = turn.between(-0.1, 1.0)
        paint.fill(
            poly(x, 0, x + 0.1, 0, x - 0.02, 0.66, x - 0.2, 0.66),
            mix((70, 176, 210), (40, 130, 180), turn.next()),
        )
    paint.fade(0.5, 0.7, ((34, 112, 164), (40, 116, 160)))
    paint.fill(ridge(turn, 0.66, 0.025), (150, 176, 150))
    paint.fade(0.7, 1, ((150, 176, 150), (198, 192, 146)))
    paint.fill(ridge(turn, 0.68, 0.012), (156, 178, 148))
    paint.fade(0.7, 1, ((156, 178, 148), (198, 192, 146)))
    for _ in range(turn.pick((3, 4, 5))):
        x, tall = turn.next(), turn.between(0.12, 0.24)
        for bend in (-0.4, 0.0, 0.4):
            paint.fill(
                blob(
                    x + 0.03 * bend,
                    0.72,
                    x + 0.05 * bend - 0.015,
                    0.72 - tall * 0.5,
                    x + 0.14 * bend,
                    0.72 - tall,
                    x + 0.08 * bend + 0.02,
                    0.72 - tall * 0.5,
                    x + 0.02,
                    0.72,
                ),
                turn.pick(((44, 128, 96), (58, 146, 98))),
            )
    for _ in range(14):
        x, y, r = turn.next(), turn.next() * 0.8, turn.between(0.006, 0.016)
        paint.fill(disc(x, y, r), (166, 222, 236))
        paint.fill(disc(x, y, r * 0.72), (70, 164, 202))
    speckle(paint, turn, 0.74, 26, (176, 170, 126), 0.006)


_PAINTERS: dict[str, Callable[[Paint, Turn], None]] = {
    "plain": _plain, "meadow": _meadow, "beach": _beach, "desert": _desert,
    "snow": _snow, "night": _night, "room": _room, "sea": _sea,
}  # fmt: skip
_painted: OrderedDict[tuple[str, int, int], Image.Image] = OrderedDict()


def backdrop(place: str, variant: int, side: int) -> Image.Image:
    """The background of a place, side x side pixels, RGB: a copy that may be drawn on. The last 64 MB are cached."""
    key = (place, variant, side)
    image = _painted.get(key)
    if image is None:
        paint = Paint(side)
        _PAINTERS[place](paint, turn_of(variant, place))
        image = _painted[key] = paint.image
        while len(_painted) > max(4, CACHE_BYTES // (4 * side * side)):
            _painted.popitem(last=False)
    else:
        _painted.move_to_end(key)
    return image.copy()
