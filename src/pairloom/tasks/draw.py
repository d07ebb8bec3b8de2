"""Text-to-image generation. Requires `Draws`.

B texts, H W sides.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
from PIL import Image
from torch import Tensor

from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.model.numbers import finite


@dataclass(frozen=True)
class Sampling:
    """Options of drawing. steps: of the sampler. guidance: scale of classifier-free guidance, up to 1: none."""

    steps: int = 50
    guidance: float = 7.5

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise Mistake("These options do not fit.", "--several, --steps and --group must be above 0.")


def demand_short(model: Model, texts: Sequence[str]) -> None:
    """Raise Mistake where a text is longer than the model reads."""
    long = [text for text in texts if model.tokens.too_long(text, model.config.length)]
    if long:
        raise Mistake(
            f"'{long[0]}' is longer than the model reads.",
            f"It reads {model.config.length} tokens, the first and the last token included.",
            "Shorten it.",
        )


def draw(
    model: Model,
    texts: Sequence[str],
    options: Sampling = Sampling(),
    seeds: Sequence[int] = (),
    group: int = 4,
) -> Iterator[Image.Image]:
    """Draw a picture for each text, `group` at a time. seeds: of the noise of each picture. Options that the system does not
    have are ignored."""
    known = inspect.signature(model.system.draw).parameters
    chosen = {name: value for name, value in asdict(options).items() if name in known}
    for first in range(0, len(texts), group):
        part = slice(first, first + group)
        with torch.no_grad():
            drawn = model.system.draw(model.batch(texts=texts[part]), seeds=list(seeds[part]), **chosen)
        yield from map(to_image, finite(drawn, "pictures"))


def to_image(picture: Tensor) -> Image.Image:
    """Convert a picture [3 H W] in [-1, 1] to a PIL image."""
    pixels = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(pixels)
