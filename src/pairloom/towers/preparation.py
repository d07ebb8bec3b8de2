"""Preparation of pictures for an image tower, as in the published evaluation of its weights.

Does not know: networks, files of weights.

I pictures, S pixels a side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pairloom.data.augment import THINNEST, centre

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALVES = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
LARGEST = 1 << 13  # side of a picture that a tower reads
FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}  # Pillow's numbers


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes the pixels that a tower reads.

    size: side in pixels. resize: side after resizing, before the centre of `size` is cut out (None: `size`). fit: "square"
    squashes to resize x resize, "crop" resizes the shortest side. mean, std: per channel, of values in 0..1. resample:
    Pillow's number of the filter.
    """

    size: int
    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]
    fit: str = "crop"
    resize: int | None = None
    resample: int = FILTERS["bicubic"]

    def __post_init__(self) -> None:
        sides = (self.size, self.size if self.resize is None else self.resize)
        plain = len(self.mean) == len(self.std) == 3 and all(map(math.isfinite, (*self.mean, *self.std)))
        if not all(1 <= side <= LARGEST for side in sides) or not plain or min(self.std) <= 0:
            raise ValueError(f"pictures of {sides} px, means {self.mean}, deviations {self.std}")
        if not 0 <= self.resample <= 5:  # Pillow has two more
            raise ValueError(f"the filter {self.resample}")

    def to_uint8(self, image: Image.Image) -> NDArray[np.uint8]:
        """[S S 3] of an RGB image; a smaller one is enlarged."""
        side, resample = self.resize or self.size, Image.Resampling(self.resample)
        if self.fit == "square":
            image = image.resize((side, side), resample)
        else:
            image = centre(image, THINNEST)
            short = min(image.size)
            width, height = (side if edge == short else int(side * edge / short) for edge in image.size)
            image = image.resize((width, height), resample)
        left, top = (round((edge - self.size) / 2) for edge in image.size)
        image = image.crop((left, top, left + self.size, top + self.size))
        return np.asarray(image, dtype=np.uint8).copy()

    def normalise(self, pixels: Tensor) -> Tensor:
        """[I S S 3] uint8 -> [I 3 S S] float32, channels last in memory: (value / 255 - mean) / std per channel."""
        mean, std = (torch.tensor(values, device=pixels.device) for values in (self.mean, self.std))
        scale = 1 / (255 * std)
        return (pixels.float() * scale - mean / std).permute(0, 3, 1, 2)


def from_timm(document: Mapping[str, Any], default: Preparation) -> Preparation:
    """The preparation of timm's `pretrained_cfg`; the family's own for what it does not say."""
    size = int(document.get("input_size", (3, default.size))[1])
    resize = None if default.resize is None else round(default.resize * size / default.size)
    if share := document.get("crop_pct"):
        resize = math.floor(size / float(share))
    return Preparation(
        size,
        tuple(map(float, document.get("mean", default.mean))),
        tuple(map(float, document.get("std", default.std))),
        "square" if document.get("crop_mode") == "squash" else "crop",
        resize,
        FILTERS.get(str(document.get("interpolation")), default.resample),
    )


def from_transformers(document: Mapping[str, Any], default: Preparation) -> Preparation:
    """The preparation of transformers' preprocessor_config.json; the family's own where there is none."""
    if not document:
        return default
    kind = str(document.get("image_processor_type", document.get("feature_extractor_type", "")))
    resample = int(document.get("resample", default.resample))
    mean, std = _normalisation(document, default)
    size, short = _side(document.get("size"), default.size)
    if kind.startswith(
        "ConvNext"
    ):  # below 384 pixels by the share of the side that is cut out, else squashed
        share = float(document.get("crop_pct") or 224 / 256)
        if size >= 384:
            return Preparation(size, mean, std, "square", None, resample)
        return Preparation(size, mean, std, "crop", int(size / share), resample)
    crops = bool(document.get("do_center_crop", kind.startswith("Bit")))
    cut = _side(document.get("crop_size"), size)[0] if crops else size
    fit = "crop" if short else "square"
    return Preparation(cut, mean, std, fit, size, resample)


def _side(value: Any, default: int) -> tuple[int, bool]:
    """The side in any of the forms of a size, and whether it is that of the shortest side."""
    if isinstance(value, Mapping):
        short = "shortest_edge" in value
        return int(value["shortest_edge"] if short else value.get("height", default)), short
    return (default if value is None else int(value)), False


def _normalisation(
    document: Mapping[str, Any], default: Preparation
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of values in 0..1, with what some processors do beside: another scale, minus one
    afterwards, or a second division by the standard deviation."""
    scale = (
        float(document.get("rescale_factor", 1 / 255)) * 255 if document.get("do_rescale", True) else 255.0
    )
    shift = 1.0 if document.get("rescale_offset", False) else 0.0
    mean, std = (
        tuple(document.get("image_mean") or default.mean),
        tuple(document.get("image_std") or default.std),
    )
    if not document.get("do_normalize", True):
        mean, std = (0.0,) * 3, (1.0,) * 3
    if document.get("include_top", False):  # EfficientNet's processor divides twice
        std = tuple(value * value for value in std)
    return tuple((value + shift) / scale for value in mean), tuple(value / scale for value in std)
