"""Outlines: closed curves as points, and the pieces that a kind of thing is made of. Free of any resolution.

Does not know: pixels, colours as numbers, scenes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # [N 2], x to the right, y down
Piece = tuple[
    str, Points
]  # fill ("body", "shade", "tint" follow the thing's colour; others are paints), outline

Number = int | float  # beartype takes an int for a float only where the annotation allows it
RIM = 0.026  # how far the dark rim stands out, in heights of the thing


def disc(x: Number, y: Number, rx: Number, ry: Number | None = None) -> Points:
    """An ellipse. Large ones get more points: 40 keep the error of a 300 px circle under a pixel."""
    count = 40 if rx > 0.12 else 24 if rx > 0.06 else 14
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([x + rx * np.cos(turn), y + (rx if ry is None else ry) * np.sin(turn)], axis=1)


def dome(x: Number, y: Number, rx: Number, ry: Number) -> Points:
    """The upper half of an ellipse (the lower one for a negative ry), standing on y."""
    turn = np.linspace(np.pi, 2 * np.pi, 24)
    return np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], axis=1)


def poly(*xy: Number) -> Points:
    """Straight edges between the corners x0, y0, x1, y1 ..."""
    return np.array(xy, dtype=np.float64).reshape(-1, 2)


def blob(*xy: Number) -> Points:
    """A smooth closed curve through the points (Catmull-Rom, 6 steps each)."""
    knots = np.array(xy, dtype=np.float64).reshape(-1, 2)
    before, after, beyond = np.roll(knots, 1, 0), np.roll(knots, -1, 0), np.roll(knots, -2, 0)
    t = (np.arange(6) / 6.0)[None, :, None]
    p0, p1, p2, p3 = (part[:, None, :] for part in (before, knots, after, beyond))
    curve = 0.5 * (
        2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    return np.asarray(curve.reshape(-1, 2))


def stroke(x0: Number, y0: Number, x1: Number, y1: Number, width: Number) -> Points:
    """A straight line with round ends."""
    start, end = np.array([x0, y0]), np.array([x1, y1])
    along = (end - start) / max(float(np.hypot(*(end - start))), 1e-9) * width / 2
    angle = np.arctan2(along[1], along[0])
    turn = np.linspace(np.pi / 2, 3 * np.pi / 2, 7) + angle
    cap = np.stack([np.cos(turn), np.sin(turn)], axis=1) * width / 2
    return np.concatenate([start + cap, end - cap])


def star(x: Number, y: Number, radius: Number, inner: Number, tips: int) -> Points:
    """A star with its first tip up."""
    turn = np.arange(2 * tips) * np.pi / tips - np.pi / 2
    reach = np.where(np.arange(2 * tips) % 2 == 0, radius, inner)
    return np.stack([x + reach * np.cos(turn), y + reach * np.sin(turn)], axis=1)


def grow(outline: Points, by: float) -> Points:
    """The outline moved outwards by `by`, sharp corners cut off at twice that."""
    ahead = np.roll(outline, -1, 0) - outline
    area = float(
        np.sum(outline[:, 0] * np.roll(outline[:, 1], -1) - np.roll(outline[:, 0], -1) * outline[:, 1])
    )
    sign = 1.0 if area > 0 else -1.0
    normal = np.stack([ahead[:, 1], -ahead[:, 0]], axis=1) * sign
    normal /= np.maximum(np.hypot(normal[:, 0], normal[:, 1]), 1e-9)[:, None]
    middle = normal + np.roll(normal, 1, 0)
    length = np.maximum(np.hypot(middle[:, 0], middle[:, 1]), 1e-9)[:, None]
    return np.asarray(outline + by * np.minimum(2.0 / length, 2.0) * middle / length)


@dataclass(frozen=True)
class Shape:
    """Shape of a kind of thing. back and body are the silhouette (they get the rim), front lies on top.

    Patterns cover the body alone. Any units may be used: the shape is centred and scaled to height 1.
    """

    body: list[Piece]
    back: list[Piece] = field(default_factory=list)
    front: list[Piece] = field(default_factory=list)

    @cached_property
    def _extent(self) -> tuple[Points, Points]:
        every = np.concatenate([outline for _, outline in (*self.back, *self.body, *self.front)])
        return every.min(0), every.max(0)

    @cached_property
    def aspect(self) -> float:
        """Width over height."""
        low, high = self._extent
        return float((high[0] - low[0]) / (high[1] - low[1]))

    @cached_property
    def layers(self) -> tuple[list[Piece], list[Piece], list[Piece], list[Piece], Points]:
        """The layers of the shape: rims, back, body, front, and all their points in one array [N 2], in that order, scaled to
        height 1."""
        low, high = self._extent
        scale = 1.0 / float(high[1] - low[1])
        middle = (low + high) / 2

        def unit(pieces: list[Piece]) -> list[Piece]:
            return [(fill, (outline - middle) * scale) for fill, outline in pieces]

        back, body, front = unit(self.back), unit(self.body), unit(self.front)
        rims = [("rim", grow(outline, RIM)) for _, outline in (*back, *body)]
        points = np.concatenate([outline for _, outline in (*rims, *back, *body, *front)])
        return rims, back, body, front, points
