"""Folders with one npz or npy a picture, named by the picture: `pairloom regions`, UNITER, bottom-up-attention.pytorch.

An npz has features [R F] (or x), boxes [R 4] (boxes, bbox, or UNITER's norm_bb) and, where the detector gave them, class
probabilities [R K] and attribute_probabilities [R A]. Boxes beside the size of the picture (image_w, image_h) are in pixels, others are shares of its sides.
An npy has a grid of features [H W F], whose cells are the regions.
"""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import numpy

from pairloom.data.detected import Detected, grid_regions
from pairloom.data.pixels import Unreadable
from pairloom.data.region_files._arrays import FEATURES, arrays_of, detected_of
from pairloom.errors import Mistake

CLAIM = "a folder with one .npz (features, boxes, class_probabilities) or .npy (a grid of features) a picture"
SUFFIXES = (".npz", ".npy")
LOOKED_AT = 20  # files of a folder that are opened to tell what it is


def sniff(path: Path) -> bool:
    """Whether a folder has files of regions: of the first files, one has features, or is a grid."""
    if not path.is_dir():
        return False
    names = list(islice(_files(path), LOOKED_AT))
    return any(_has_features(path / name) for name in names)


def index(path: Path) -> dict[str, str]:
    """The name of each file without its suffix -> its place in the folder. Mistake where two files have one name."""
    places: dict[str, str] = {}
    for name in _files(path):
        record = os.path.splitext(os.path.basename(name))[0]
        if record in places:
            why = f"{places[record]} and {name} have the regions of one picture."
            raise Mistake(f"{path} has two files called {record}.", why, "Name one of the folders.")
        places[record] = name
    return places


def read(path: Path, where: str) -> Detected:
    file = path / where
    if file.suffix == ".npz":
        return detected_of(arrays_of(file))
    try:
        return grid_regions(numpy.load(file))
    except (OSError, ValueError, EOFError) as error:
        pickled = "pickle" in str(error)
        raise Unreadable(
            "it is pickled, which is never read" if pickled else f"it is not whole: {error}"
        ) from error


def _files(path: Path):  # type: ignore[no-untyped-def]
    """Files of regions below a folder, in an order of their own; hidden ones are unfinished."""
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            if name.endswith(SUFFIXES) and not name.startswith("."):
                yield os.path.relpath(os.path.join(folder, name), path)


def _has_features(file: Path) -> bool:
    try:
        if file.suffix == ".npz":
            return bool({*arrays_of(file)} & {*FEATURES})
        with open(file, "rb") as stream:
            return stream.read(6) == b"\x93NUMPY"
    except (Unreadable, OSError):
        return file.suffix == ".npz"  # of this kind, and not whole: reading it says so
