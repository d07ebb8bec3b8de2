"""Detected regions of one picture: features, boxes and the detector's own classes, as shares and distributions that were checked.

Does not know: files, tensors, networks.

R regions, F features of a region, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy
from numpy.typing import NDArray

from pairloom.data.pixels import Unreadable

Floats = NDArray[numpy.float32]
OUTSIDE = 0.02  # shares of a side: how far a box may stick out of the picture, and is cut (detectors round outwards)
OFF_ONE = 0.02  # how far the sum of a class distribution may lie from 1: 1,601 chances in half precision


@dataclass(frozen=True, eq=False)
class Detected:
    """What a detector saw in one picture, the surest region first: features [R F]; boxes [R 4], left, top, right and bottom as
    shares of the picture's sides; class_probabilities [R K], background first, and attribute_probabilities [R A], no attribute first,
    or None where it gave none. Kept as float32."""

    features: NDArray[Any]
    boxes: NDArray[Any]
    class_probabilities: NDArray[Any] | None = None
    attribute_probabilities: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        for name, value in self.arrays().items():
            object.__setattr__(self, name, numpy.asarray(value, numpy.float32))

    def arrays(self) -> dict[str, Any]:
        """The arrays that there are, by name, as an npz of ours has them."""
        return {name: array for name, array in vars(self).items() if array is not None}

    def tobytes(self) -> bytes:
        """Its features as bytes, which stand for it where a picture's pixels would: seeds follow from them."""
        content: bytes = self.features.tobytes()
        return content

    def take(self, rows: NDArray[Any] | Sequence[int]) -> Detected:
        """These regions, in this order."""
        return Detected(**{name: array[rows] for name, array in self.arrays().items()})


def shares(boxes: NDArray[Any], width: float, height: float) -> Floats:
    """Boxes [R 4] in pixels as shares of the sides of a picture. Unreadable where the picture has no size."""
    if not (width > 0 and height > 0):
        raise Unreadable(f"its picture has the size {width:g} x {height:g}")
    sides = numpy.array([width, height] * 2, numpy.float32)
    return (numpy.asarray(boxes[:, :4], numpy.float32) / sides).astype(numpy.float32)


def distributions(labels: NDArray[Any], confidence: NDArray[Any], kinds: int) -> Floats:
    """Distributions [R 1 + kinds] of a detector that kept only the best class, or attribute, of each region and its confidence: the rest of
    the probability is spread evenly over the others. Background, or no attribute, which is class 0, has none. Ours: no paper needs it."""
    rows = numpy.arange(len(labels))
    if len(labels) and not (0 <= labels.min() and labels.max() < kinds):
        raise Unreadable(f"it has a class that is none of {kinds}")
    certain = numpy.clip(numpy.asarray(confidence, numpy.float32), 0, 1)
    chances = numpy.repeat(((1 - certain) / (kinds - 1))[:, None], kinds + 1, 1)
    chances[rows, labels + 1] = certain
    chances[:, 0] = 0
    return chances.astype(numpy.float32)


def grid_regions(cells: NDArray[Any]) -> Detected:
    """The cells of a grid of features [H W F] as regions, row by row, each with its cell's box. Unreadable for another shape."""
    if cells.ndim != 3 or cells.dtype.kind not in "fiu":
        raise Unreadable(
            f"an npy is a grid of features [H W F], and this is {cells.dtype} {list(cells.shape)}: boxes are missing"
        )
    high, wide, features = cells.shape
    down, across = numpy.divmod(numpy.arange(high * wide), max(wide, 1))
    boxes = numpy.stack([across / wide, down / high, (across + 1) / wide, (down + 1) / high], 1)
    return Detected(cells.reshape(-1, features), boxes)


def checked(detected: Detected) -> Detected:
    """The same regions, with boxes cut at the picture's edges. Unreadable, with the reason, where there is no region, or one that
    cannot be."""
    count = len(detected.features)
    for name, value in detected.arrays().items():
        if value.ndim != 2 or len(value) != count:
            raise Unreadable(f"its {name} {list(value.shape)} are not those of {count} regions")
        if not numpy.isfinite(value).all():
            raise Unreadable(f"its {name} are not all numbers")
    if not count:
        raise Unreadable("it has no region")
    _check_distributions("class", detected.class_probabilities)
    _check_distributions("attribute", detected.attribute_probabilities)
    return replace(detected, boxes=_inside(detected.boxes))


def _inside(boxes: Floats) -> Floats:
    if boxes.shape[1] != 4:
        raise Unreadable(f"its boxes have {boxes.shape[1]} numbers, not 4")
    if boxes.max() > 2:
        raise Unreadable("its boxes are in pixels, and it does not say how large the picture is")
    sides = boxes[:, 2:] - boxes[:, :2]
    if (sides < 0).any():
        raise Unreadable(
            f"box {int((sides < 0).any(1).argmax())} is upside down: right of its right side, or below its lower"
        )
    outside = (boxes < -OUTSIDE) | (boxes > 1 + OUTSIDE)
    if outside.any():
        raise Unreadable(f"box {int(outside.any(1).argmax())} lies outside the picture")
    return boxes.clip(0, 1)


def _check_distributions(kind: str, chances: Floats | None) -> None:
    if chances is None:
        return
    if (chances < -1e-6).any():
        raise Unreadable(f"its {kind} distributions have chances below 0")
    sums = chances.sum(1)
    if (numpy.abs(sums - 1) > OFF_ONE).any():
        row = int(numpy.abs(sums - 1).argmax())
        raise Unreadable(
            f"its {kind} distributions do not sum to 1: that of region {row} sums to {sums[row]:.3g}"
        )
