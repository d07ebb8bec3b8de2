"""Text-to-image generation. Requires `Draws`.

B texts, H W sides.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.model.numbers import finite
from pairloom.verbs import Draws


@dataclass(frozen=True)
class Sampling:
    """Options of drawing; None: what the system does by itself. steps: of the sampler of a diffusion model. guidance: scale of
    classifier-free guidance, up to 1: none. temperature: of codes that are drawn one after the other."""

    steps: int | None = None
    guidance: float | None = None
    temperature: float | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise Mistake("These options do not fit.", "--several, --steps and --group must be above 0.")
        if self.temperature is not None and self.temperature <= 0:
            raise Mistake("These options do not fit.", "--temperature must be above 0.")

    def of(self, system: Draws) -> dict[str, Any]:
        """The options that are stated and that the system has, by name."""
        known = inspect.signature(system.draw).parameters
        return {name: value for name, value in asdict(self).items() if value is not None and name in known}

    def unheard(self, system: Draws) -> list[str]:
        """Names of the options that are stated although the system has none such."""
        stated = {name for name, value in asdict(self).items() if value is not None}
        return sorted(stated - set(self.of(system)))


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
    """Draw a picture for each text, `group` at a time. seeds: of the noise of each picture. Options that the system does not have
    are not used (`Sampling.unheard`)."""
    chosen = options.of(model.system)
    for first in range(0, len(texts), group):
        part = slice(first, first + group)
        with torch.no_grad():
            drawn = model.system.draw(model.batch(texts=texts[part]), seeds=list(seeds[part]), **chosen)
        yield from map(to_image, finite(drawn, "pictures"))


def to_image(picture: Tensor) -> Image.Image:
    """Convert a picture [3 H W] in [-1, 1] to a PIL image."""
    pixels = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(pixels)
