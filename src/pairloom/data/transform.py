"""Transform: RGB pixels -> what a model sees. Plain values, which a model folder carries.

Does not know: files, encoded bytes before they are read, models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from pairloom.errors import Mistake

OPENAI_MEAN, OPENAI_STD = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)  # CLIP and BLIP
LARGEST = 1 << 13  # side that a picture is resized to


@dataclass(frozen=True)
class Transform:
    """Pixels as a model wants them; plain values, so that it lies in a model's folder as JSON.

    size: side in pixels. mean, std: per channel, of values in 0..1.
    fit: "square" squashes to size x size (BLIP); "crop" resizes the shortest side and cuts the centre (CLIP); "pad" resizes
    the longest side and lays the picture on black. resized: the side after resizing, before the centre of `size` is cut out
    (0: `size`; not with "pad"). resample: the filter.
    With a generator (training) instead: crop_scale: RandomResizedCrop's least and most share of the area, where fit is
    "crop" of a square's, which keeps its shape (Radford et al., 2021: "a random square crop from resized images");
    flip: left-right with probability 1/2 (it makes captions that say left or right wrong: off unless asked for);
    randaugment: two of BLIP's operations (see `augment`).
    """

    size: int = 224
    mean: tuple[float, ...] = OPENAI_MEAN
    std: tuple[float, ...] = OPENAI_STD
    fit: Literal["square", "crop", "pad"] = "square"
    resample: Literal["bicubic", "bilinear"] = "bicubic"
    resized: int = 0
    crop_scale: tuple[float, ...] | None = None
    flip: bool = False
    randaugment: bool = False

    def __post_init__(self) -> None:
        cut = self.resized == 0 or (self.fit != "pad" and self.size <= self.resized <= LARGEST)
        if self.size < 1 or not cut or len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            why = f"Side {self.size} of {self.resized or self.size}, means {self.mean}, deviations {self.std}: three of each, and deviations above 0."
            raise Mistake(
                "Pictures cannot be prepared in this way.", why, "Copy the configs again, as published."
            )

    def to_uint8(self, image: Image.Image, rng: np.random.Generator | None = None) -> np.ndarray:
        """[H W 3] uint8 of an RGB image: augmented where a generator is given, the evaluation view otherwise."""
        from pairloom.data import augment

        if rng is not None and self.crop_scale is not None:
            crop = augment.random_square if self.fit == "crop" else augment.random_crop
            image = crop(image, self.size, self.crop_scale, rng)
        else:
            image = self._fitted(image)
        if rng is not None and self.flip and rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if rng is not None and self.randaugment:
            image = augment.randaugment(image, rng)
        return np.asarray(image, dtype=np.uint8).copy()

    def read(self, data: bytes, scaled: bool = False) -> Image.Image:
        """The evaluation view of encoded bytes, which `to_uint8` leaves as it is. Raises Unreadable.

        scaled: a JPEG is decoded at 1/2, 1/4 or 1/8 where that leaves twice the pixels needed: faster, with slightly
        other values."""
        from pairloom.data.pixels import open_image

        return self._fitted(open_image(data, shrink_to=2 * (self.resized or self.size) if scaled else None))

    def _fitted(self, image: Image.Image) -> Image.Image:
        from pairloom.data.augment import letterbox, middle, shortest

        filter_, side = Image.Resampling[self.resample.upper()], self.resized or self.size
        if self.fit == "pad":
            return letterbox(image, side, filter_)
        image = (
            image.resize((side, side), filter_) if self.fit == "square" else shortest(image, side, filter_)
        )
        return middle(image, self.size)

    def normalise(self, pixels: np.ndarray) -> np.ndarray:
        """[... H W 3] uint8 -> [... 3 H W] float32: (value / 255 - mean) / std per channel."""
        scale = 1 / (255 * np.asarray(self.std, np.float32))
        shift = np.asarray(self.mean, np.float32) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(np.moveaxis(pixels.astype(np.float32) * scale - shift, -1, -3))
