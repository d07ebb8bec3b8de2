"""Views of a picture: RandomResizedCrop, RandAugment as BLIP uses it (N = 2, M = 5 of 10), the centre, the whole on black.

Does not know: models, files, when to augment. All randomness comes from the generator that is handed in.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageOps

THINNEST = 64.0  # sides' ratio past which the ends are cut before resizing the shortest side, to bound memory
GREY = (128, 128, 128)  # what moves in from outside
SHEAR, SHIFT, TURN = 0.15, 5.0, 15.0  # M = 5 of 10: half of 0.3, of 10 pixels and of 30 degrees
COUNT, CHANCE = 2, 0.5  # operations drawn, and the probability that a drawn one is applied
# At M = 5 the enhancement factor is 0.5 * 1.8 + 0.1 = 1.0: Brightness and Sharpness leave the picture as it is
NAMES = (
    "identity",
    "autocontrast",
    "brightness",
    "sharpness",
    "equalize",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
)


def random_crop(
    image: Image.Image, size: int, scale: tuple[float, ...], rng: np.random.Generator
) -> Image.Image:
    """A random part of `scale` (least, most) of the area and a side ratio of 3/4 to 4/3, resized to size x size.

    After ten tries that do not fit, the largest centred part within that ratio.
    """
    width, height = image.size
    for _ in range(10):
        area = width * height * rng.uniform(scale[0], scale[1])
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            left, top = int(rng.integers(width - wide + 1)), int(rng.integers(height - high + 1))
            part = image.crop((left, top, left + wide, top + high))
            return part.resize((size, size), Image.Resampling.BICUBIC)
    return centre(image, 4 / 3).resize((size, size), Image.Resampling.BICUBIC)


def random_square(
    image: Image.Image, size: int, scale: tuple[float, ...], rng: np.random.Generator
) -> Image.Image:
    """A random square of `scale` (least, most) of the area of the largest there is, resized to size x size."""
    side = max(1, round(min(image.size) * math.sqrt(rng.uniform(scale[0], scale[1]))))
    left, top = (int(rng.integers(length - side + 1)) for length in image.size)
    part = image.crop((left, top, left + side, top + side))
    return part.resize((size, size), Image.Resampling.BICUBIC)


def centre(image: Image.Image, ratio: float) -> Image.Image:
    """The middle of a picture whose sides' ratio is above `ratio`; the picture itself otherwise."""
    width, height = image.size
    wide, high = min(width, round(height * ratio)), min(height, round(width * ratio))
    if (wide, high) == (width, height):
        return image
    left, top = (width - wide) // 2, (height - high) // 2
    return image.crop((left, top, left + wide, top + high))


def shortest(image: Image.Image, size: int, resample: Image.Resampling) -> Image.Image:
    """A picture whose shortest side is resized to size; of a very long one the middle."""
    image = centre(image, THINNEST)
    short = min(image.size)
    sides = tuple(size if side == short else int(size * side / short) for side in image.size)
    return image.resize((sides[0], sides[1]), resample)


def middle(image: Image.Image, size: int) -> Image.Image:
    """The middle square of size x size; halves of a pixel are rounded to even."""
    if image.size == (size, size):
        return image
    left, top = (round((side - size) / 2) for side in image.size)
    return image.crop((left, top, left + size, top + size))


def letterbox(image: Image.Image, size: int, resample: Image.Resampling) -> Image.Image:
    """The whole picture in the middle of a black square of size x size, its longest side resized to that."""
    ratio = max(image.size) / size
    wide, high = (max(1, round(side / ratio)) for side in image.size)
    square = Image.new("RGB", (size, size))
    square.paste(image.resize((wide, high), resample), ((size - wide) // 2, (size - high) // 2))
    return square


def randaugment(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Two of the operations, drawn with replacement, each applied with probability 1/2."""
    for name in rng.choice(NAMES, COUNT):
        if rng.random() < CHANCE:
            image = apply(image, str(name), 1 if rng.random() < 0.5 else -1)
    return image


def apply(image: Image.Image, name: str, sign: int) -> Image.Image:
    """One operation at BLIP's magnitude; sign 1 or -1 is its direction."""
    if name == "autocontrast":
        return ImageOps.autocontrast(image)
    if name == "equalize":
        return ImageOps.equalize(image)
    if name == "rotate":
        return image.rotate(sign * TURN, Image.Resampling.BILINEAR, fillcolor=GREY)
    moves = {
        "shear_x": (1, sign * SHEAR, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, sign * SHEAR, 1, 0),
        "translate_x": (1, 0, sign * SHIFT, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, sign * SHIFT),
    }
    if name in moves:
        return image.transform(
            image.size, Image.Transform.AFFINE, moves[name], Image.Resampling.BILINEAR, fillcolor=GREY
        )
    return image
