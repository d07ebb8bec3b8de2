"""Ground-truth regions of a scene: the box and the label of each thing, as from a perfect detector."""

from __future__ import annotations

from dataclasses import dataclass

from pairloom.world.scene import Box, Scene


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
