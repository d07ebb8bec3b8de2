"""Near duplicates of a picture: the same scene compressed, cropped, brightened, rescaled, framed or shifted.

Nothing is mirrored, as that would turn left into right.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

from PIL import Image, ImageEnhance, ImageOps

from pairloom.world.draw import picture
from pairloom.world.scene import Scene, Turn, turn_of


def _compress(scene: Scene, size: int, turn: Turn) -> Image.Image:
    buffer = io.BytesIO()
    picture(scene, size).save(buffer, "JPEG", quality=int(turn.between(25, 60)))
    return Image.open(buffer).convert("RGB")


def _crop(scene: Scene, size: int, turn: Turn) -> Image.Image:
    image = picture(scene, size)
    box = [turn.between(0.008, 0.02) * size for _ in range(4)]
    return image.resize(
        (size, size), Image.Resampling.BICUBIC, (box[0], box[1], size - box[2], size - box[3])
    )


def _brighten(scene: Scene, size: int, turn: Turn) -> Image.Image:
    factor = turn.between(1.04, 1.12) if turn.chance(0.5) else turn.between(0.88, 0.96)
    return ImageEnhance.Brightness(picture(scene, size)).enhance(factor)


def _rescale(scene: Scene, size: int, turn: Turn) -> Image.Image:
    small = round(size * turn.between(0.6, 0.8))
    return (
        picture(scene, size)
        .resize((small, small), Image.Resampling.BICUBIC)
        .resize((size, size), Image.Resampling.BICUBIC)
    )


def _frame(scene: Scene, size: int, turn: Turn) -> Image.Image:
    edge = max(1, round(0.02 * size))
    return ImageOps.expand(
        picture(scene, size).resize((size - 2 * edge, size - 2 * edge)), edge, (20, 20, 20)
    )


def _shift(scene: Scene, size: int, turn: Turn) -> Image.Image:
    """The next frame of the film: everything has moved a little, together, so that all relations stay."""
    dx, dy = turn.between(0.008, 0.016) * turn.pick((-1, 1)), turn.between(-0.01, 0.01)
    things = tuple(replace(t, spots=tuple((x + dx, y + dy, h) for x, y, h in t.spots)) for t in scene.things)
    return picture(replace(scene, things=things), size)


CHANGES: dict[str, Callable[[Scene, int, Turn], Image.Image]] = {
    "compress": _compress, "crop": _crop, "brighten": _brighten, "rescale": _rescale, "frame": _frame, "shift": _shift,
}  # fmt: skip


def near_duplicates(scene: Scene, size: int = 64, count: int = 3) -> list[tuple[str, Image.Image]]:
    """Near duplicates of a scene's picture: `count` copies (at most one per change), each with the name of its change."""
    turn = turn_of(scene.seed, "near", size)
    return [(change, CHANGES[change](scene, size, turn)) for change in turn.shuffle(list(CHANGES))[:count]]
