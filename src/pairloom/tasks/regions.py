"""Regions of pictures: by a detector, or the cells of a frozen image tower's last map.

Does not know: where pictures come from, where regions go.

P cells of a map, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy
from PIL import Image

from pairloom.data.detected import Detected, grid_regions
from pairloom.data.pixels import squashed
from pairloom.errors import Mistake
from pairloom.towers import ImageTower
from pairloom.towers.detector import Detector


@runtime_checkable
class RegionMaker(Protocol):
    """What makes regions of pictures."""

    def about(self) -> dict[str, Any]:
        """What the regions depend on, as plain values."""
        ...

    def make(self, images: Sequence[Image.Image]) -> list[Detected]:
        """The regions of upright RGB pictures, the surest first; a picture may have none."""
        ...


@dataclass(frozen=True)
class DetectedRegions:
    """The `most` surest regions of a detector, none less sure than the threshold. Mistake for numbers that leave none."""

    detector: Detector
    where: str
    most: int = 36
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if self.most < 1 or not 0 <= self.threshold < 1:
            raise Mistake(
                "No region would be left.",
                f"At most {self.most}, and at least {self.threshold} sure.",
                "Give 1 or more, and 0 to 1.",
            )

    def about(self) -> dict[str, Any]:
        one = self.detector
        return {
            "detector": self.where, "kind": one.name, "features": one.width, "classes": 1 + len(one.labels), "most": self.most,
            "threshold": self.threshold, "labels": ["background", *one.labels],
        }  # fmt: skip

    def make(self, images: Sequence[Image.Image]) -> list[Detected]:
        return self.detector.detect(images, self.most, self.threshold)


@dataclass(frozen=True)
class GridRegions:
    """The cells of a tower's last map, row by row. The whole picture is squashed to the tower's square, so that the cells cover it
    all. They have no classes."""

    tower: ImageTower

    def about(self) -> dict[str, Any]:
        return {
            "image_tower": self.tower.name,
            "identity": self.tower.identity,
            "features": self.tower.width,
            "classes": 0,
        }

    def make(self, images: Sequence[Image.Image]) -> list[Detected]:
        cells = self.tower.grid(numpy.stack([squashed(image, self.tower.size) for image in images])).numpy()
        side = round(cells.shape[1] ** 0.5)
        if side * side != cells.shape[1]:
            raise Mistake(
                f"{self.tower.name} has no square map.",
                f"It has {cells.shape[1]} cells.",
                "Name another tower.",
            )
        return [grid_regions(rows.reshape(side, side, -1)) for rows in cells]
