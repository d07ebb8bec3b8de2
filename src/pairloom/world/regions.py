"""Regions of a scene: the box and the label of each thing, and what a perfect or a noisy detector would make of them.

R regions, F features, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy

from pairloom.data.detected import Detected, distributions
from pairloom.data.disk import atomic_write
from pairloom.world.level import COLOURS, KINDS, PATTERNS, SIZES
from pairloom.world.scene import Box, Scene, Turn, turn_of
from pairloom.world.world import World

# features of a region: one of each of these, then a mark that is always there
ATTRIBUTES: tuple[tuple[str, ...], ...] = (KINDS, tuple(COLOURS), PATTERNS, ("", *SIZES))
FEATURES = sum(map(len, ATTRIBUTES)) + 1
CLASSES = 1 + len(KINDS)  # background first
SHIFT = 0.3  # of a box's sides: how far a detector of noise 1 may move each side


@dataclass(frozen=True)
class Region:
    """A region. box: x0, y0, x1, y1 as fractions of the picture. label: "small striped red ball". thing: index in
    scene.things."""

    box: Box
    kind: str
    colour: str
    label: str
    thing: int


def regions(scene: Scene) -> list[Region]:
    """One region for every single thing (three for a group of three), the nearest last."""
    boxes = []
    for index, thing in enumerate(scene.things):
        words = (thing.size, "" if thing.pattern == "plain" else thing.pattern, thing.colour, thing.kind)
        label = " ".join(word for word in words if word)
        boxes += [Region(box, thing.kind, thing.colour, label, index) for box in thing.boxes()]
    return sorted(boxes, key=lambda region: region.box[3])


def detect(scene: Scene, noise: float = 0.0) -> Detected:
    """What a detector sees: features [R F], one-hot kind, colour, pattern and size; boxes; distributions over CLASSES.

    noise: 0 is perfect. A detector of noise p misses a thing with chance p / 2 (never all), takes each attribute of a thing for another
    with chance p, moves the sides of its box, and is 1 - p / 2 sure of the kind. The same for a scene, whatever else is drawn.
    """
    turn = turn_of(scene.seed, "detector", noise)
    things = [region for region in regions(scene)[::-1] if not turn.chance(noise / 2)] or regions(scene)[-1:]
    rows, labels = [], []
    for region in things:
        thing = scene.things[region.thing]
        own = (thing.kind, thing.colour, thing.pattern, thing.size)
        seen = [turn.pick(kinds) if turn.chance(noise) else word for kinds, word in zip(ATTRIBUTES, own)]
        rows.append([float(word == one) for kinds, word in zip(ATTRIBUTES, seen) for one in kinds] + [1.0])
        labels.append(KINDS.index(seen[0]))
    certain = numpy.full(len(things), 1 - noise / 2)
    boxes = numpy.array([_moved(region.box, noise, turn) for region in things], numpy.float32)
    return Detected(
        numpy.array(rows), boxes.clip(0, 1), distributions(numpy.array(labels), certain, len(KINDS))
    )


def write_regions(world: World, out: Path, noise: float = 0.0) -> Path:
    """Write what a detector sees in every picture of a world as OUT/NAME.npz, by the names of its pairs."""
    for row in world.rows():
        with atomic_write(out / f"{row.name}.npz", replace=True) as stream:
            numpy.savez(stream, **detect(row.scene, noise).arrays())
    return out


def _moved(box: Sequence[float], noise: float, turn: Turn) -> list[float]:
    """A box whose sides are moved by at most a share of its width or height, and stay in their order."""
    sides = (box[2] - box[0], box[3] - box[1]) * 2
    return [at + SHIFT * noise * size * turn.between(-1, 1) for at, size in zip(box, sides)]
