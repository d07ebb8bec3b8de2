"""Zero-shot classification (Radford et al., 2021, section 3.1): which of these names fits a picture best?

The embedding of a class is the mean of its prompts' unit vectors, normalised: an ensemble of prompts costs no more per
picture than one prompt. Requires `Embeds`.


N pictures, K classes, P prompts, E shared embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pairloom.data.batch import Batch
from pairloom.data.cut import cut_texts
from pairloom.data.pixels import Picture
from pairloom.errors import Mistake, nearest
from pairloom.model import Model
from pairloom.model.numbers import finite

LOOKS = (
    "bad", "good", "bright", "dark", "blurry", "cropped", "close-up", "pixelated", "low resolution", "jpeg corrupted",
    "black and white",
)  # fmt: skip
KINDS = ("hard to see", "clean", "dirty", "cool", "large", "small", "nice", "weird")
MADE = ("sculpture", "rendering", "rendition", "tattoo", "drawing", "painting", "doodle", "sketch")
STUFF = ("embroidered", "plastic", "origami", "toy", "cartoon", "plushie")


def _imagenet() -> tuple[str, ...]:
    """The 80 prompts that were published for ImageNet ("itap": I took a picture)."""
    templates = [f"a photo of {word} {{}}." for word in ("a", "the", "my", "many", "one")] + [
        "itap of my {}."
    ]
    for word in ("a", "the"):
        templates += [f"a {look} photo of {word} {{}}." for look in LOOKS]
        templates += [f"a photo of {word} {kind} {{}}." for kind in KINDS]
        templates += [f"a {medium} of {word} {{}}." for medium in MADE]
        templates += [f"{medium} of {word} {{}}." for medium in ("art", "graffiti", "itap")]
        templates += [f"{word} {stuff} {{}}." for stuff in STUFF]
        templates += [f"{word} {{}} in a video game."]
    return tuple(templates)


TEMPLATES: dict[str, tuple[str, ...]] = {
    "name": ("{}",),
    "photo": ("a photo of a {}.",),
    "imagenet": _imagenet(),
}


def templates(words: str) -> tuple[str, ...]:
    """Prompt templates: a named set, or one template of the caller's with {} in it. Mistake where `words` is neither."""
    if "{}" in words:
        return (words,)
    if words not in TEMPLATES:
        raise Mistake(
            f"'{words}' is no set of templates.",
            "A template of your own has {} in the place of the name.",
            nearest(words, TEMPLATES),
        )
    return TEMPLATES[words]


@dataclass(frozen=True)
class Classifying:
    """Options of classification. template: see `templates`. top: names for each picture. temperature: of the softmax over
    cosines; 0.01 is the learned value of all of OpenAI's models."""

    template: str = "photo"
    top: int = 5
    temperature: float = 0.01

    def __post_init__(self) -> None:
        templates(self.template)
        if self.top < 1 or self.temperature <= 0:
            raise Mistake(
                "These options do not fit.",
                f"top {self.top} and temperature {self.temperature} must be above 0.",
            )


@dataclass(frozen=True)
class Label:
    """A class of a picture: its name, its softmax probability among all names, and its cosine with the picture."""

    name: str
    share: float
    cosine: float


def prompted(names: Sequence[str], prompts: Sequence[str]) -> list[str]:
    """The texts of the classes: every prompt with the first name, then with the next."""
    return [prompt.replace("{}", name) for name in names for prompt in prompts]


@torch.no_grad()
def class_embeddings(model: Model, names: Sequence[str], prompts: Sequence[str], rows: int = 256) -> Tensor:
    """Embeddings of the classes [K E]: the mean over all prompts of each name, normalised."""
    texts = prompted(names, prompts)
    parts = [
        model.system.embed_text(model.batch(texts=texts[first : first + rows])).float()
        for first in range(0, len(texts), rows)
    ]
    return F.normalize(
        finite(torch.cat(parts), "embeddings").unflatten(0, (len(names), len(prompts))).mean(1), dim=-1
    )


@torch.no_grad()
def classify(
    model: Model, images: Tensor | Sequence[Picture], classes: Tensor, temperature: float = 0.01
) -> tuple[Tensor, Tensor]:
    """Cosines [N K] of pictures with classes [K E], and their softmax probabilities at a temperature.

    The probabilities only compare these classes: a picture of none of them has a likeliest class too.
    """
    cosines = model.system.embed_image(Batch(images=model.pictures(images)[:, None])).float() @ classes.T
    finite(cosines, "embeddings")
    return cosines, (cosines / temperature).softmax(1)


class Classifier:
    """Zero-shot classifier: the names are embedded once, for any number of pictures. cut: texts of classes that are longer than the
    model reads. Mistake for fewer than two names."""

    def __init__(self, model: Model, names: Sequence[str], options: Classifying = Classifying()) -> None:
        self.model, self.names, self.options = model, list(dict.fromkeys(names)), options
        if len(self.names) < 2:
            raise Mistake(
                "There is nothing to choose between.",
                f"{len(self.names)} name in {', '.join(map(repr, self.names)) or 'an empty list'}.",
                "Give two or more.",
            )
        prompts = templates(options.template)
        self.classes = class_embeddings(model, self.names, prompts)
        self.cut = cut_texts(model.tokens, prompted(self.names, prompts), model.config.length)

    def labels(self, images: Tensor | Sequence[Picture]) -> list[list[Label]]:
        """The `top` best names of each picture, best first."""
        cosines, shares = classify(self.model, images, self.classes, self.options.temperature)
        best = shares.topk(min(self.options.top, len(self.names)), dim=1).indices.tolist()
        return [
            [Label(self.names[at], float(shares[row, at]), float(cosines[row, at])) for at in chosen]
            for row, chosen in enumerate(best)
        ]
