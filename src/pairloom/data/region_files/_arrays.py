"""Regions from named arrays, under the names that published features have. Does not know: where the arrays lay."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from pairloom.data.detected import Detected, shares
from pairloom.data.pixels import Unreadable
from pairloom.errors import Mistake

# ours; UNITER's; bottom-up-attention.pytorch's
FEATURES = ("features", "x")
NORMED = ("norm_bb",)  # boxes as shares, with width and height behind them
BOXES = ("boxes", "bbox", "bb")
CLASSES = ("class_probabilities", "soft_labels", "cls_prob")
ATTRIBUTES = ("attribute_probabilities", "attr_prob")
WIDTHS, HEIGHTS = ("image_w", "img_w", "width"), ("image_h", "img_h", "height")


def detected_of(arrays: Mapping[str, Any]) -> Detected:
    """Regions of arrays by name. Boxes are in pixels where the size of the picture stands beside them. Unreadable for others."""
    features, classes = _first(arrays, FEATURES), _first(arrays, CLASSES)
    if features is None:
        raise Unreadable(f"it has no features: it has {', '.join(arrays) or 'nothing'}")
    normed, boxes = _first(arrays, NORMED), _first(arrays, BOXES)
    if normed is not None:
        boxes = normed[:, :4] if normed.ndim == 2 else normed
    elif boxes is None:
        raise Unreadable(f"it has no boxes: it has {', '.join(arrays)}")
    else:
        width, height = _first(arrays, WIDTHS), _first(arrays, HEIGHTS)
        if width is not None and height is not None and boxes.ndim == 2:
            boxes = shares(boxes, float(width), float(height))
    return Detected(features, boxes, classes, _first(arrays, ATTRIBUTES))


def arrays_of(data: Path | bytes) -> dict[str, NDArray[Any]]:
    """The arrays of numbers in an npz: a file, or its bytes. Unreadable where it is not whole; what is pickled is left out."""
    try:
        with (
            io.BytesIO(data) if isinstance(data, bytes) else open(data, "rb") as stream,
            numpy.load(stream) as stored,
        ):
            return {name: array for name in stored.files if (array := _numbers(stored, name)) is not None}
    except FileNotFoundError as error:
        raise Unreadable("the file is gone") from error
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error) as error:
        raise Unreadable(f"it is not whole: {error}") from error


def _numbers(stored: Any, name: str) -> NDArray[Any] | None:
    try:
        array: NDArray[Any] = stored[name]
    except ValueError as error:
        if "pickle" in str(error):
            return None  # an array of objects: what a detector says beside its regions
        raise
    return array if array.dtype.kind in "fiu" else None


def _first(arrays: Mapping[str, Any], names: tuple[str, ...]) -> NDArray[Any] | None:
    return next((numpy.asarray(arrays[name]) for name in names if name in arrays), None)


def absent(package: str, path: Any) -> Mistake:
    """The Mistake for a package of the extra `regions` that is not installed."""
    return Mistake(
        f"{path} cannot be read.", f"{package} is not installed.", 'pip install "pairloom[regions]" has it.'
    )
