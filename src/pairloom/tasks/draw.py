"""Text-to-image generation. Requires `Draws`.

B texts, H W sides.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, Protocol, runtime_checkable

import torch
from PIL import Image
from torch import Tensor

from pairloom.data.batch import Batch
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

    @property
    def options(self) -> dict[str, Any]:
        """Options of `draw`, beside the picture in its batch."""
        return {"rows": self.rows}

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


@dataclass(frozen=True)
class PictureStyle:
    """A picture whose style (pose, background) every text is drawn in, in place of noise."""

    image: Image.Image

    @property
    def options(self) -> dict[str, Any]:
        """Options of `draw`, beside the picture in its batch."""
        return {"style": True}

    def demand(self, model: Model) -> None:
        """Raise Mistake where a model has no style encoder, or one that was not trained."""
        if "style" not in inspect.signature(model.system.draw).parameters:
            why = "It has no encoder of style."
            raise Mistake(f"A {model.name} cannot take the style of a picture.", why, "Take a reed_gan.")
        if "style" not in model.about.get("parts", ()):
            raise Mistake(
                "The style encoder was not trained yet.",
                "It is a part of its own, which learns from what the model draws.",
                f"First: pairloom train {model.name}:style --init MODEL --data PAIRS --out DIR",
            )


def problem_of(model: Model, text: str) -> Mistake | None:
    """Why a model cannot draw a text: it is empty, of characters that the model does not know, or longer than it reads."""
    if not text.strip():
        return Mistake("A text is empty.", "There is nothing to draw.", "Say what is to be seen.")
    if set(model.tokens.bare([text])[0]) <= {model.tokens.unk}:
        why = "Its tokenizer knows none of the characters or words."
        return Mistake(f"'{text}' says nothing to the model.", why, "Use the words of its training set.")
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
    begin: Beginning | PictureStyle | None = None,
) -> Iterator[Tensor]:
    """Draw a picture [3 H W] in [-1, 1] for each text, at most `group` at a time. seeds: of the noise of each. begin: what all
    begin with, or the picture whose style they have. Options that the system does not have are not used (`Sampling.unheard`)."""
    chosen = options.of(model.system)
    for part in batches(texts, group):
        some = texts[part]
        if begin is None:
            batch = model.batch(texts=some)
        else:
            batch = model.batch([begin.image], some, [0] * len(some))
            chosen |= begin.options
        with torch.no_grad():
            yield from model.system.draw(batch, seeds=list(seeds[part]), **chosen)


@runtime_checkable
class DrawsBetween(Protocol):
    """Text-to-image generator that also draws what lies between two texts."""

    def draw_between(self, batch: Batch, shares: Tensor, *, seeds: Sequence[int]) -> Tensor:
        """Pictures [S 3 H W] in [-1, 1] between the first two texts of a batch, and between the noises of two seeds: at share 0 [S]
        as of the first of both, at 1 as of the second."""
        ...


def draw_between(
    model: Model, texts: tuple[str, str], count: int, seeds: Sequence[int]
) -> Iterator[tuple[float, Tensor]]:
    """`count` pictures [3 H W] in [-1, 1] from the first text and the noise of the first seed to the second ones, in equal steps, each
    with its share of the second. Mistake where the system cannot."""
    if not isinstance(model.system, DrawsBetween):
        why = "It has no space of texts in which a straight line is drawn."
        raise Mistake(f"A {model.name} cannot draw between two texts.", why, "Take a reed_gan.")
    shares = torch.linspace(0, 1, count, device=model.device)
    with torch.no_grad():
        pictures = model.system.draw_between(model.batch(texts=list(texts)), shares, seeds=seeds)
    yield from zip(shares.tolist(), pictures)


def to_image(picture: Tensor) -> Image.Image:
    """Convert a picture [3 H W] in [-1, 1] to a PIL image. Mistake where it is not of finite numbers."""
    pixels = ((finite(picture, "pictures").clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu()
    return Image.fromarray(pixels.numpy())
