"""Regions of pictures as a detector found them: read from npz files or memory, and a column of batches.

A file `IMAGE_KEY.npz` has `features` [R F], `boxes` [R 4] (left, top, right, bottom, as shares of the picture's sides) and, where
the detector gave them, `class_probabilities` [R K]; the surest region first.
Does not know: detectors, networks.

B rows, M examples, N pictures of an example, R regions.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from numpy.typing import NDArray

from pairloom.data.feed import RegionFeed
from pairloom.data.loader import Drawn
from pairloom.data.order import Rows
from pairloom.data.pair import content_hash
from pairloom.data.records import Regions
from pairloom.errors import Mistake

Floats = NDArray[numpy.float32]


@dataclass(frozen=True)
class Detected:
    """What a detector found in one picture: features [R F], boxes [R 4], class_probabilities [R K] or None."""

    features: Floats
    boxes: Floats
    class_probabilities: Floats | None = None


@dataclass(frozen=True)
class RegionFiles(Mapping[str, Detected]):
    """A folder of `IMAGE_KEY.npz`, each read when it is asked for."""

    folder: Path

    def __getitem__(self, image_key: str) -> Detected:
        """Mistake where the file is not there or not whole."""
        file = self.folder / f"{image_key}.npz"
        try:
            with numpy.load(file) as stored:
                arrays = {name: numpy.asarray(stored[name], numpy.float32) for name in stored.files}
        except FileNotFoundError as error:
            raise Mistake(
                f"There are no regions of the picture {image_key}.",
                f"{file} does not exist.",
                "Run the detector on every picture, and name each file by the hash of its picture.",
            ) from error
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise Mistake(f"{file} cannot be read.", str(error), "Copy the file again.") from error
        lacking = [name for name in ("features", "boxes") if name not in arrays]
        if lacking:
            raise Mistake(f"{file} has no {' and no '.join(lacking)}.", f"It has {', '.join(arrays)}.")
        return Detected(arrays["features"], arrays["boxes"], arrays.get("class_probabilities"))

    def __iter__(self) -> Iterator[str]:
        return (file.stem for file in sorted(self.folder.glob("*.npz")))

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True)
class RegionColumn:
    """`regions` of the pictures of M examples. source: image key -> Detected; keys [M]: the pictures of each example, by key."""

    source: Mapping[str, Detected]
    keys: Sequence[Sequence[str]]
    feed: RegionFeed
    chances: int = 0

    def identity(self) -> str:
        return content_hash(repr((self.keys, self.feed)).encode())

    def read(self, drawn: Drawn) -> tuple[Mapping[str, Any], Rows | None]:
        keys = [self.keys[row] for row in drawn.here(drawn.rows)]
        return {
            "regions": collate_regions([[self.source[key] for key in row] for row in keys], self.feed)
        }, None


def collate_regions(detected: Sequence[Sequence[Detected]], feed: RegionFeed) -> Regions:
    """[B N R ...] of the regions of B examples of N pictures: at most feed.most of each, padded to the most there are here.

    Mistake where regions have another width than the model reads, or lack the class probabilities that it needs.
    """
    flat = [one for row in detected for one in row]
    for one in flat:
        _check(one, feed)
    most = max(1, *(min(len(one.features), feed.most) for one in flat))

    def padded(arrays: list[Floats]) -> torch.Tensor:
        rows = numpy.zeros((len(arrays), most, arrays[0].shape[1]), numpy.float32)
        for row, array in zip(rows, arrays):
            row[: min(len(array), most)] = array[:most]
        return torch.from_numpy(rows).unflatten(0, (len(detected), -1))

    counts = torch.tensor([min(len(one.features), most) for one in flat])
    mask = (torch.arange(most) < counts[:, None]).unflatten(0, (len(detected), -1))
    classes = [one.class_probabilities for one in flat if one.class_probabilities is not None]
    return Regions(
        padded([one.features for one in flat]),
        padded([one.boxes for one in flat]),
        mask,
        padded(classes) if feed.classes else None,
    )


def _check(one: Detected, feed: RegionFeed) -> None:
    count, width = one.features.shape
    classes = None if one.class_probabilities is None else one.class_probabilities.shape[1]
    fit = one.boxes.shape == (count, 4) and width == feed.features
    if not fit or (feed.classes and classes != feed.classes):
        wanted = f"features of {feed.features}" + f" and {feed.classes} class probabilities" * bool(
            feed.classes
        )
        raise Mistake(
            f"The regions of a picture do not fit: the model reads {wanted}.",
            f"There are features {one.features.shape}, boxes {one.boxes.shape}, {classes or 'no'} class probabilities.",
            "Run the detector that the model was made for.",
        )
