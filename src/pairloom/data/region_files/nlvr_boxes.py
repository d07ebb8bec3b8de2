"""NLVR (Suhr et al., 2017): the items of its three boxes as regions, from the set itself, unpacked or as a tar.

The released lines have every item with place, size, shape and colour (`structured_rep`). Where a line has none, the items are read
off the picture, which is drawn: an item is a patch of one colour, and its shape is the share of its square that it fills.

A region is an item or one of the three grey boxes. Its 13 features are ours: four for the kind (box, square, triangle, circle),
three for the colour (yellow, black, blue), size, left and top as shares of its box, three for which box from the left. Its class is
one of ten: the grey box, which stands where other detectors have background, or shape and colour of an item.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy
from numpy.typing import NDArray

from pairloom.data.detected import Detected
from pairloom.data.examples import nlvr
from pairloom.data.pair import Blob
from pairloom.data.pixels import Unreadable, open_image

CLAIM = "NLVR (v1), whose items are the regions: the set itself"
SHAPES = ("square", "triangle", "circle")
COLOURS = {"yellow": (255, 255, 0), "black": (0, 0, 0), "#0099ff": (0, 153, 255)}
SIDE, GAP, PICTURE = 100, 50, (400, 100)  # pixels of a box, between two boxes, of a picture
NEAR = 90  # sum of the differences of three channels up to which a pixel is of a colour; half way to the boxes' grey and beyond
SIZES = (10, 20, 30)
FILLED = {
    "square": 0.9,
    "circle": 0.65,
    "triangle": 0.0,
}  # smallest share of its frame that a shape fills, the fullest first
ORDERS = tuple(itertools.permutations(range(3)))  # picture K of a sentence shows its boxes in this order


class Item(NamedTuple):
    """An item of a box: left and top corner and side in pixels of the box."""

    shape: str
    colour: str
    left: int
    top: int
    size: int


def sniff(path: Path) -> bool:
    return bool(nlvr.sniff(path))


def index(path: Path) -> dict[str, tuple[Blob, Any]]:
    """The file name of each picture without its suffix -> the picture, and its three boxes from left to right where they are
    released."""
    places: dict[str, tuple[Blob, Any]] = {}
    for statement in nlvr.read(path):
        blob, boxes = statement.images[0], statement.meta.get("structured_rep")
        name = PurePosixPath(blob.name or str(blob.path)).stem
        if not statement.problem:
            order = ORDERS[int(statement.name.rpartition("-")[2])]
            places[name] = (blob, [boxes[at] for at in order] if boxes is not None else None)
    return places


def read(path: Path, where: tuple[Blob, Any]) -> Detected:
    blob, boxes = where
    if boxes is not None:
        return regions_of([[_released(item) for item in box] for box in boxes])
    try:
        return regions_of(_read_off(blob))
    except OSError as error:
        raise Unreadable(f"its picture cannot be read: {error.strerror or error}") from error


@lru_cache(maxsize=1 << 16)  # 8 ms a picture, and every epoch of a training asks again
def _read_off(blob: Blob) -> list[list[Item]]:
    return items_of(numpy.asarray(open_image(blob.read())))


def regions_of(boxes: Iterable[Iterable[Item]]) -> Detected:
    """The three boxes, then their items, as regions."""
    rows = []
    for place, items in enumerate(boxes):
        left = place * (SIDE + GAP)
        frame = (0, 0, SIDE, SIDE)
        for kind, colour, (x, y, right, bottom) in [
            (0, -1, frame),
            *((1 + SHAPES.index(one.shape), list(COLOURS).index(one.colour), _corners(one)) for one in items),
        ]:
            about = numpy.zeros(13, numpy.float32)
            about[kind] = about[10 + place] = 1
            if kind:
                about[4 + colour] = 1
            about[7:10] = (right - x) / SIDE, x / SIDE, y / SIDE
            box = [(left + x) / PICTURE[0], y / PICTURE[1], (left + right) / PICTURE[0], bottom / PICTURE[1]]
            rows.append((about, box, 3 * (kind - 1) + colour + 1 if kind else 0))
    rows.sort(key=lambda row: row[2] > 0)
    features, places, labels = zip(*rows)
    return Detected(
        numpy.stack(features), numpy.array(places), numpy.eye(10, dtype=numpy.float32)[list(labels)]
    )


def items_of(pixels: NDArray[numpy.uint8]) -> list[list[Item]]:
    """The items of each box of a picture [100 400 3]. Unreadable for a picture of another size."""
    if pixels.shape[:2] != PICTURE[::-1]:
        raise Unreadable(
            f"its picture is {pixels.shape[1]} x {pixels.shape[0]}, NLVR's are {PICTURE[0]} x {PICTURE[1]}"
        )
    lefts = (place * (SIDE + GAP) for place in range(3))
    return [_items(pixels[:, left : left + SIDE].astype(numpy.int16)) for left in lefts]


def _items(box: NDArray[numpy.int16]) -> list[Item]:
    items = []
    for colour, channels in COLOURS.items():
        for patch in _patches(numpy.abs(box - numpy.array(channels)).sum(2) < NEAR):
            rows, starts, stops = numpy.array(patch).T
            wide, high = int(stops.max() - starts.min()), int(rows.max() - rows.min()) + 1
            filled = int((stops - starts).sum()) / (wide * high)
            size = min(SIZES, key=lambda side: abs(side - max(wide, high)))
            shape = next(name for name, least in FILLED.items() if filled >= least)
            # a triangle is drawn within its square: as far from both sides, and on its ground
            left, top = int(starts.min()) - (size - wide) // 2, int(rows.min()) - (size - high)
            items.append(Item(shape, colour, left, top, size))
    return items


def _patches(mask: NDArray[numpy.bool_]) -> list[list[tuple[int, int, int]]]:
    """Connected components (4 neighbours) of a mask [H W], each as its runs: row, first column, column behind the last."""
    edges = numpy.diff(numpy.pad(mask, ((0, 0), (1, 1))).astype(numpy.int8), axis=1)
    rows, starts = numpy.nonzero(edges == 1)
    stops = numpy.nonzero(edges == -1)[1]
    patches: list[list[tuple[int, int, int]]] = []
    for run in zip(rows.tolist(), starts.tolist(), stops.tolist()):
        touching = [patch for patch in patches if _touches(patch, run)]
        patches = [patch for patch in patches if patch not in touching]
        patches.append([*sorted(itertools.chain.from_iterable(touching)), run])
    return patches


def _touches(patch: list[tuple[int, int, int]], run: tuple[int, int, int]) -> bool:
    """Whether a run lies below one of a patch, whose runs are in the order of their rows."""
    row, start, stop = run
    last = itertools.takewhile(lambda one: one[0] >= row - 1, reversed(patch))
    return any(above == row - 1 and left < stop and start < right for above, left, right in last)


def _released(item: Mapping[str, Any]) -> Item:
    """An item of `structured_rep`. Unreadable where it is none."""
    try:
        return Item(
            str(item["type"]).lower(),
            str(item["color"]).lower(),
            int(item["x_loc"]),
            int(item["y_loc"]),
            int(item["size"]),
        )
    except (LookupError, TypeError, ValueError) as error:
        raise Unreadable(f"an item of its boxes is broken: {error}") from error


def _corners(item: Item) -> tuple[int, int, int, int]:
    return item.left, item.top, item.left + item.size, item.top + item.size
