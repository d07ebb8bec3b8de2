"""Text-to-image generation. Requires `Draws`.

B texts, H W sides.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.model.numbers import finite
from pairloom.verbs import Draws, WritesCodes


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


@dataclass(frozen=True)
class Beginning:
    """A picture that is completed: the first `rows` rows of its codes are kept, and the rest is drawn."""

    image: Image.Image
    rows: int

    def demand(self, model: Model) -> None:
        """Raise Mistake where a model cannot complete pictures, or has not so many rows."""
        system = model.system
        if (
            not isinstance(system, WritesCodes)
            or "rows" not in inspect.signature(model.system.draw).parameters
        ):
            why = "It needs a codebook, so that a picture has rows of codes which can be kept."
            raise Mistake(
                f"A {model.name} cannot complete a picture.", why, "Leave --begin out, or take a dalle."
            )
        side = math.isqrt(system.code_length)
        if not 0 < self.rows < side:
            why = f"A picture of this model has {side} rows of codes."
            raise Mistake(f"{self.rows} rows cannot be kept.", why, f"Give --rows 1 to {side - 1}.")


def problem_of(model: Model, text: str) -> Mistake | None:
    """Why a model cannot draw a text: it is empty, or longer than the model reads."""
    if not text.strip():
        return Mistake("A text is empty.", "There is nothing to draw.", "Say what is to be seen.")
    if model.tokens.too_long(text, model.config.length):
        return Mistake(
            f"'{text}' is longer than the model reads.",
            f"It reads {model.config.length} tokens, the first and the last token included.",
            "Shorten it.",
        )
    return None


def batches(texts: Sequence[str], group: int) -> Iterator[slice]:
    """Parts of a list of texts, of at most `group` rows each, in which every text stands equally often: a system may then read
    each of them once for all of its rows."""
    first = end = size = 0
    for _, rows in groupby(texts):
        count = len(list(rows))
        if end > first and (count != size or end - first + count > group):
            yield slice(first, end)
            first = end
        end, size = end + count, count
        while end - first > group:
            yield slice(first, first + group)
            first, size = first + group, end - first - group
    if end > first:
        yield slice(first, end)


def draw(
    model: Model,
    texts: Sequence[str],
    options: Sampling = Sampling(),
    seeds: Sequence[int] = (),
    group: int = 4,
    begin: Beginning | None = None,
) -> Iterator[Tensor]:
    """Draw a picture [3 H W] in [-1, 1] for each text, at most `group` at a time. seeds: of the noise of each. begin: what all
    begin with. Options that the system does not have are not used (`Sampling.unheard`)."""
    chosen = options.of(model.system)
    for part in batches(texts, group):
        some = texts[part]
        if begin is None:
            batch = model.batch(texts=some)
        else:
            batch = model.batch([begin.image], some, [0] * len(some))
            chosen["rows"] = begin.rows
        with torch.no_grad():
            yield from model.system.draw(batch, seeds=list(seeds[part]), **chosen)


def to_image(picture: Tensor) -> Image.Image:
    """Convert a picture [3 H W] in [-1, 1] to a PIL image. Mistake where it is not of finite numbers."""
    pixels = ((finite(picture, "pictures").clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu()
    return Image.fromarray(pixels.numpy())
