"""HDF5 of VLP (Zhou et al., 2020): PREFIX_featNNN.h5, PREFIX_clsNNN.h5 and PREFIX_bbox.h5 in one folder, each with a dataset
a picture: features [R F], class scores [R K], and boxes in pixels with the confidence behind [R 6].

NNN are the last three digits of a picture's name. The files do not say how large a picture is: as in VLP's own code the largest
x and y of its boxes stand for its sides.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from pairloom.data.detected import Detected, shares
from pairloom.data.pixels import Unreadable
from pairloom.data.region_files._arrays import absent
from pairloom.errors import Mistake

CLAIM = "VLP's HDF5: a folder of PREFIX_feat*.h5, PREFIX_cls*.h5 and PREFIX_bbox.h5"
FEATURES = re.compile(r"(.+)_feat(\w*)\.h5")
MARK = b"\x89HDF\r\n\x1a\n"


def sniff(path: Path) -> bool:
    if path.is_file():
        with open(path, "rb") as stream:
            return stream.read(len(MARK)) == MARK
    return path.is_dir() and any(FEATURES.fullmatch(file.name) for file in path.glob("*.h5"))


def index(path: Path) -> dict[str, tuple[str, str, str]]:
    """The name of each picture -> prefix and number of its files, and itself. Mistake where a file is cut off, or one by itself."""
    if path.is_file():
        raise Mistake(
            f"{path} cannot be joined to pictures.",
            "It is one HDF5 file; which picture a row of it shows usually stands in a pickle beside it, which is never read.",
            "Write it as one npz a picture, or in VLP's layout (docs/regions.md).",
        )
    h5py = _library(path)
    places: dict[str, tuple[str, str, str]] = {}
    for file in sorted(path.glob("*.h5")):
        if match := FEATURES.fullmatch(file.name):
            try:
                with h5py.File(file, "r") as stored:
                    places |= {name: (match[1], match[2], name) for name in stored}
            except OSError as error:
                why = f"It is no HDF5, or cut off: {error}."
                raise Mistake(f"{file} cannot be read.", why, "Copy it again.") from error
    return places


def read(path: Path, where: tuple[str, str, str]) -> Detected:
    prefix, number, name = where
    features = _dataset(path / f"{prefix}_feat{number}.h5", name)
    places = _dataset(path / f"{prefix}_bbox.h5", name)
    scores = path / f"{prefix}_cls{number}.h5"
    classes = _dataset(scores, name) if scores.is_file() else None
    if places.ndim != 2 or places.shape[1] < 4 or not len(places):
        raise Unreadable(f"its boxes are {list(places.shape)}, not [R 6]")
    width, height = (float(places[:, side].max()) for side in (2, 3))
    detected = Detected(features, shares(places, width, height), classes)
    if places.shape[1] < 6 or len(features) != len(places):
        return detected
    return detected.take(numpy.argsort(-places[:, 5], kind="stable"))


def _dataset(file: Path, name: str) -> NDArray[Any]:
    try:
        with _library(file).File(file, "r") as stored:
            return numpy.asarray(stored[name])
    except KeyError as error:
        raise Unreadable(f"{file.name} has nothing called {name}") from error
    except (OSError, ValueError, TypeError) as error:
        raise Unreadable(f"{file.name} cannot be read: {error}") from error


def _library(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise absent("h5py", path) from error
    return h5py
