"""Scenes: things with attributes and positions, and the relations between them. Sampled from a seed.

Coordinates are fractions of the picture, x to the right and y down. Relations are laid out, so that the drawing shows
them; `holds` decides left, right, above and below from the boxes alone.
Does not know: pixels, words.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pairloom.data.pair import seed_of
from pairloom.world.kinds import SHAPES
from pairloom.world.level import Level

T = TypeVar("T")
Box = tuple[float, float, float, float]  # x0, y0, x1, y1
Spot = tuple[float, float, float]  # middle x, middle y, height


@dataclass(frozen=True, slots=True)
class Thing:
    """A thing of a scene, or a group of `count` equal ones. size: "" where the level has only one. faces: 1 to the right, -1
    to the left."""

    kind: str
    colour: str
    size: str = ""
    pattern: str = "plain"
    spots: tuple[Spot, ...] = ()
    faces: int = 1
    tilt: float = 0.0  # radians, forwards
    floats: bool = False

    @property
    def count(self) -> int:
        return len(self.spots)

    def boxes(self) -> list[Box]:
        """The box of each member of a group."""
        aspect = SHAPES[self.kind].aspect
        wide, high = (aspect + abs(self.tilt)) / 2, (1 + aspect * abs(self.tilt)) / 2
        return [(x - wide * h, y - high * h, x + wide * h, y + high * h) for x, y, h in self.spots]

    def box(self) -> Box:
        """The box around the thing or the whole group."""
        boxes = self.boxes()
        return (
            min(box[0] for box in boxes),
            min(box[1] for box in boxes),
            max(box[2] for box in boxes),
            max(box[3] for box in boxes),
        )


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation: things[subject] NAME things[object], NAME a key of level.RULES: "left of", "chasing" ..."""

    name: str
    subject: int
    object: int


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene. relations: those that the layout shows; others may hold too (see `holds`)."""

    seed: int
    level: Level = field(repr=False)
    place: str
    things: tuple[Thing, ...]
    relations: tuple[Relation, ...]


class Turn:
    """Random choices from a seed, the same on every machine and Python version (only `random()` is used, which Python
    guarantees)."""

    __slots__ = ("next",)

    def __init__(self, seed: int) -> None:
        self.next = random.Random(seed).random

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self.next() * len(options))]

    def between(self, low: int | float, high: int | float) -> float:
        return low + (high - low) * self.next()

    def chance(self, share: float) -> bool:
        return self.next() < share

    def weigh(self, weights: Sequence[int | float]) -> int:
        """A random index, with probabilities in proportion to the weights."""
        left = self.next() * sum(weights)
        for index, weight in enumerate(weights):
            left -= weight
            if left < 0:
                return index
        return len(weights) - 1

    def shuffle(self, options: Sequence[T]) -> list[T]:
        left = list(options)
        return [left.pop(int(self.next() * len(left))) for _ in options]


def turn_of(seed: int, *salt: object) -> Turn:
    """Independent random choices for each use (`salt`) of a seed."""
    return Turn(seed_of(str(seed), *salt))


def overlap(a: Box, b: Box, axis: int) -> float:
    """Overlap of two boxes along x (0) or y (1), as a share of the shorter side; negative across a gap."""
    shared = min(a[axis + 2], b[axis + 2]) - max(a[axis], b[axis])
    return shared / min(a[axis + 2] - a[axis], b[axis + 2] - b[axis])


def is_left(a: Box, b: Box) -> bool:
    """Whether a is left of b: their overlap along x is at most a quarter."""
    return a[0] + a[2] < b[0] + b[2] and overlap(a, b, 0) <= 0.25


def is_above(a: Box, b: Box) -> bool:
    """Whether a is above b: their overlap along y is at most a quarter, and along x more than that."""
    return a[1] + a[3] < b[1] + b[3] and overlap(a, b, 1) <= 0.25 and overlap(a, b, 0) > 0.25


def holds(scene: Scene, name: str, subject: int, object: int) -> bool:
    """Whether things[subject] NAME things[object] is true: decided by the boxes for left, right, above and below, by the layout
    for all else."""
    if subject == object:
        return False
    if name == "left of":
        return is_left(scene.things[subject].box(), scene.things[object].box())
    if name == "above":
        return is_above(scene.things[subject].box(), scene.things[object].box())
    return Relation(name, subject, object) in scene.relations
