"""Rendering of scenes: polygons drawn on a larger canvas and averaged down, to any size from 32 to 512 pixels.

Measured against signed distances in numpy: PIL fills a 40-point polygon on a 256 px canvas in 11 us and averages
256 -> 64 px in 45 us, one numpy distance field over 64 x 64 takes about 60 us.
Does not know: words.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

from pairloom.world.backdrop import RGB, SHADES, VARIANTS, backdrop, mix
from pairloom.world.kinds import SHAPES
from pairloom.world.level import COLOURS
from pairloom.world.scene import Scene, Spot, Thing

SMALLEST, LARGEST = 32, 512
PAINTS: dict[str, RGB] = {
    "white": (252, 252, 250), "ink": (38, 34, 44), "wood": (132, 92, 58), "leaf": (70, 150, 66), "cream": (248, 228, 190),
    "gold": (250, 196, 50), "rose": (244, 158, 170), "glass": (196, 230, 246), "grey": (158, 164, 174),
    "brick": (168, 90, 72), "olive": (138, 168, 92),
}  # fmt: skip


def _palette(colour: str) -> dict[str, RGB]:
    body = COLOURS[colour]
    light = sum(body) > 480
    rim = (96, 96, 108) if colour == "black" else mix(body, (24, 18, 40), 0.5)
    accent = mix(body, (40, 30, 60), 0.42) if light else mix(body, (255, 250, 240), 0.82)
    return PAINTS | {
        "body": body, "rim": rim, "accent": accent,
        "tint": mix(body, (255, 255, 255), 0.45), "shade": mix(body, (30, 20, 50), 0.2 if light else 0.26),
    }  # fmt: skip


PALETTES = {colour: _palette(colour) for colour in COLOURS}
Job = tuple[float, Callable[[], None]]  # the nearer, the later


@lru_cache(maxsize=48)
def _weave(pattern: str, period: int) -> Image.Image:
    """A mask of 12 x 12 periods: 255 where the second colour shows."""
    y, x = np.mgrid[0 : 2 * period, 0 : 2 * period] / period
    if pattern == "striped":
        on = (x + y) % 1.0 < 0.45
    elif pattern == "dotted":
        u, v = x % 1.0 - 0.5, (y + np.floor(x) % 2 * 0.5) % 1.0 - 0.5
        on = u * u + v * v < 0.085
    else:
        on = (x % 1.0 < 0.5) ^ (y % 1.0 < 0.5)
    return Image.fromarray(np.tile((on * 255).astype(np.uint8), (6, 6)))


class _Canvas:
    def __init__(self, scene: Scene, size: int) -> None:
        self.fine = 4 if size <= 64 else 3 if size <= 128 else 2
        self.side = size * self.fine
        self.image = backdrop(scene.place, scene.seed % VARIANTS, self.side)
        self.pen = ImageDraw.Draw(self.image)
        self.shade, self.dark = SHADES[scene.place], scene.place in ("night", "sea")

    def shadow(self, spot: Spot, aspect: float) -> None:
        x, y, high = (value * self.side for value in spot)
        wide, ground = high * aspect * 0.5, y + high * 0.49
        self.pen.ellipse((x - wide, ground - high * 0.06, x + wide, ground + high * 0.06), fill=self.shade)

    def thing(self, thing: Thing, spot: Spot, layers: tuple[int, ...] = (0, 1, 2, 3)) -> None:
        """Draw some layers of one thing: 0 rims, 1 back, 2 body (with its pattern), 3 front."""
        shape, palette = SHAPES[thing.kind], PALETTES[thing.colour]
        *pieces, points = shape.layers
        x, y, high = (value * self.side for value in spot)
        cos, sin = math.cos(thing.tilt) * high, math.sin(thing.tilt) * high
        across, down = points[:, 0] * thing.faces, points[:, 1]
        # written out, not as a matrix product: BLAS may round otherwise on another machine
        turned = np.stack(
            [x + across * cos - down * sin * thing.faces, y + across * sin * thing.faces + down * cos], 1
        )
        flat = turned.ravel().tolist()
        start = 0
        polygon = self.pen.polygon
        for number, layer in enumerate(pieces):
            outlines = []
            for fill, outline in layer:
                end = start + 2 * len(outline)
                if number in layers:
                    polygon(flat[start:end], fill=palette[fill])
                    if number == 2 and fill == "body":
                        outlines.append(flat[start:end])
                start = end
            if outlines and thing.pattern != "plain":
                self.weave(thing.pattern, outlines, high, palette["accent"])

    def weave(self, pattern: str, outlines: list[list[float]], high: float, colour: RGB) -> None:
        """Lay a pattern over the outlines."""
        left, top = int(min(min(o[::2]) for o in outlines)), int(min(min(o[1::2]) for o in outlines))
        right, bottom = max(max(o[::2]) for o in outlines), max(max(o[1::2]) for o in outlines)
        wide, tall = int(right) - left + 2, int(bottom) - top + 2
        mask = Image.new("L", (wide, tall))
        pen = ImageDraw.Draw(mask)
        for outline in outlines:
            moved = [value - (top if odd % 2 else left) for odd, value in enumerate(outline)]
            pen.polygon(moved, fill=255)
        period = self.fine * max(3, round(0.25 * high / self.fine))
        tile = _weave(pattern, period).crop((0, 0, wide, tall))
        self.image.paste(colour, (left, top), ImageChops.multiply(mask, tile))

    def line(self, x0: float, y0: float, x1: float, y1: float, width: float, colour: RGB) -> None:
        """A line with round ends."""
        ends = [value * self.side for value in (x0, y0, x1, y1)]
        half = width * self.side / 2
        self.pen.line(ends, fill=colour, width=max(1, round(2 * half)))
        for x, y in (ends[:2], ends[2:]):
            self.pen.ellipse((x - half, y - half, x + half, y + half), fill=colour)


def picture(scene: Scene, size: int = 64) -> Image.Image:
    """The scene as an RGB image of size x size pixels (32 to 512)."""
    if not SMALLEST <= size <= LARGEST:
        raise ValueError(f"size is {SMALLEST} to {LARGEST} pixels, not {size}")
    canvas = _Canvas(scene, size)
    jobs = _jobs(canvas, scene)
    for _, job in sorted(jobs, key=lambda entry: entry[0]):
        job()
    return canvas.image.reduce(canvas.fine)


def draw(scene: Scene, size: int = 64) -> NDArray[np.uint8]:
    """The scene as uint8 [size size 3], RGB."""
    return np.asarray(picture(scene, size))


def _jobs(canvas: _Canvas, scene: Scene) -> list[Job]:
    """The drawing steps of a scene, each with its nearness; nearer things are drawn later."""
    nearness, raised, opened = _order(scene)
    jobs: list[Job] = []
    for index, thing in enumerate(scene.things):
        for spot in thing.spots:
            near = nearness[index] if thing.count == 1 else spot[1] + spot[2] / 2
            if index not in raised:
                jobs.append((-1.0, partial(canvas.shadow, spot, SHAPES[thing.kind].aspect)))
            if index in opened:
                jobs.append((near - 0.002, partial(canvas.thing, thing, spot, (0, 1))))
                jobs.append((near, partial(canvas.thing, thing, spot, (2, 3))))
            else:
                jobs.append((near, partial(canvas.thing, thing, spot)))
    for relation in scene.relations:
        if relation.name in _GESTURES:
            a, b = relation.subject, relation.object
            near = (
                nearness[a] - 0.0005 if relation.name == "lifting" else max(nearness[a], nearness[b]) + 0.002
            )
            jobs.append((near, partial(_GESTURES[relation.name], canvas, scene.things[a], scene.things[b])))
    return jobs


def _order(scene: Scene) -> tuple[list[float], set[int], set[int]]:
    """Nearness of each thing (the ground line that it stands on, and a small offset for a thing upon another); the things
    without a shadow of their own; the things whose back is drawn before another thing and whose front after it."""
    ground = [max(y + high / 2 for _, y, high in thing.spots) for thing in scene.things]
    nearness, opened = list(ground), set()
    raised = {index for index, thing in enumerate(scene.things) if thing.floats}
    for relation in scene.relations:
        a, b = relation.subject, relation.object
        if relation.name in ("inside", "on", "riding"):
            raised.add(a)
            nearness[a] = ground[b] + (0.001 if relation.name == "on" else -0.001)
            if relation.name == "inside" or scene.things[b].kind == "boat":
                opened.add(b)
        elif relation.name in ("holding", "lifting", "wearing"):
            raised.add(b)
            nearness[b] = ground[a] + 0.001
    return nearness, raised, opened


def _arm(canvas: _Canvas, thing: Thing, start: tuple[float, float], end: tuple[float, float]) -> None:
    palette, wide = PALETTES[thing.colour], 0.09 * thing.spots[0][2]
    canvas.line(*start, *end, wide * 1.5, palette["rim"])
    canvas.line(*start, *end, wide, palette["body"])
    canvas.line(*end, end[0] + 1e-4, end[1], wide * 1.7, palette["rim"])
    canvas.line(*end, end[0] + 1e-4, end[1], wide * 1.2, palette["tint"])


def _hold(canvas: _Canvas, a: Thing, b: Thing) -> None:
    (x, y, high), (bx, by, bhigh) = a.spots[0], b.spots[0]
    inner = bx - a.faces * 0.3 * bhigh * SHAPES[b.kind].aspect
    _arm(
        canvas,
        a,
        (x + a.faces * 0.2 * high * SHAPES[a.kind].aspect, y + 0.2 * high),
        (inner, by + 0.2 * bhigh),
    )


def _lift(canvas: _Canvas, a: Thing, b: Thing) -> None:
    """Both arms up, drawn behind the creature."""
    (x, y, high), (bx, by, bhigh) = a.spots[0], b.spots[0]
    shoulder, reach = 0.36 * high * SHAPES[a.kind].aspect, 0.38 * bhigh * SHAPES[b.kind].aspect
    for side in (-1, 1):
        elbow = (x + side * (max(shoulder, reach) + 0.05 * high), y - 0.3 * high)
        canvas.line(x + side * shoulder, y + 0.08 * high, *elbow, 0.12 * high, PALETTES[a.colour]["rim"])
        _arm(canvas, a, elbow, (bx + side * reach, by + 0.5 * bhigh))
        canvas.line(x + side * shoulder, y + 0.08 * high, *elbow, 0.08 * high, PALETTES[a.colour]["body"])


def _push(canvas: _Canvas, a: Thing, b: Thing) -> None:
    (x, y, high), (left, _, right, _) = a.spots[0], b.box()
    edge = left if a.faces == 1 else right
    for row in (0.0, 0.16):
        _arm(
            canvas,
            a,
            (x + a.faces * 0.25 * high * SHAPES[a.kind].aspect, y + row * high),
            (edge + a.faces * 0.015, y + (row - 0.04) * high),
        )


def _rush(canvas: _Canvas, a: Thing, b: Thing) -> None:
    """Lines of speed behind both; a puff of dust behind the first."""
    colour = (250, 250, 250) if canvas.dark else (84, 72, 92)
    for thing in (a, b):
        left, top, right, bottom = thing.box()
        back, high = (left if thing.faces == 1 else right), bottom - top
        width = max(0.035 * high, 1.1 * canvas.fine / canvas.side)  # never thinner than a pixel
        for row, long in ((0.35, 0.16), (0.55, 0.24), (0.75, 0.16)):
            start, y = back - thing.faces * 0.02, top + row * high
            canvas.line(start, y, start - thing.faces * long * high, y, width, colour)


def _ride(canvas: _Canvas, a: Thing, b: Thing) -> None:
    _rush(canvas, b, b)


_GESTURES: dict[str, Callable[[_Canvas, Thing, Thing], None]] = {
    "holding": _hold, "lifting": _lift, "pushing": _push, "chasing": _rush, "riding": _ride,
}  # fmt: skip
