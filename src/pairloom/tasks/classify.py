"""Classify: which of these names fits a picture best, where nobody trained for the names (Radford et al., 2021, 3.1).

A class is the mean of its prompts' embeddings, each of length one, brought back to length one: an ensemble costs no more
per picture than one prompt. Asks for Embeds; knows no files.

N pictures, K classes, P prompts, E shared embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pairloom.data.batch import Batch, Texts
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake, nearest

LOOKS = (
    "bad", "good", "bright", "dark", "blurry", "cropped", "close-up", "pixelated", "low resolution", "jpeg corrupted",
    "black and white",
)  # fmt: skip
KINDS = ("hard to see", "clean", "dirty", "cool", "large", "small", "nice", "weird")
MADE = ("sculpture", "rendering", "rendition", "tattoo", "drawing", "painting", "doodle", "sketch")
STUFF = ("embroidered", "plastic", "origami", "toy", "cartoon", "plushie")


def _imagenet() -> tuple[str, ...]:
    """The 80 prompts that were published for ImageNet ("itap": I took a picture)."""
    found = [f"a photo of {word} {{}}." for word in ("a", "the", "my", "many", "one")] + ["itap of my {}."]
    for word in ("a", "the"):
        found += [f"a {look} photo of {word} {{}}." for look in LOOKS]
        found += [f"a photo of {word} {kind} {{}}." for kind in KINDS]
        found += [f"a {made} of {word} {{}}." for made in MADE]
        found += [f"{made} of {word} {{}}." for made in ("art", "graffiti", "itap")]
        found += [f"{word} {stuff} {{}}." for stuff in STUFF]
        found += [f"{word} {{}} in a video game."]
    return tuple(found)


TEMPLATES: dict[str, tuple[str, ...]] = {
    "name": ("{}",),
    "photo": ("a photo of a {}.",),
    "imagenet": _imagenet(),
}


def templates(words: str) -> tuple[str, ...]:
    """A named set, or one own template with {} in it. Mistake where it is neither."""
    if "{}" in words:
        return (words,)
    if words not in TEMPLATES:
        raise Mistake(
            f"'{words}' is no set of templates.",
            "An own template has {} where the name goes.",
            nearest(words, TEMPLATES),
        )
    return TEMPLATES[words]


@torch.no_grad()
def class_embeddings(
    system: Any, tokens: Tokens, names: Sequence[str], prompts: Sequence[str], rows: int = 256
) -> Tensor:
    """[K E]: each name in every prompt, averaged in the space of embeddings and normalised."""
    texts = [prompt.replace("{}", name) for name in names for prompt in prompts]
    device = next(iter(system.parameters())).device
    found = []
    for first in range(0, len(texts), rows):
        part = Texts(*tokens.encode(texts[first : first + rows], system.config.length))
        found.append(system.embed_text(Batch(texts=part.to(device))).float())
    return F.normalize(torch.cat(found).unflatten(0, (len(names), len(prompts))).mean(1), dim=-1)


@torch.no_grad()
def classify(
    system: Any, images: Tensor, classes: Tensor, temperature: float = 0.01
) -> tuple[Tensor, Tensor]:
    """Cosines [N K] of pictures [N 3 H W] with classes [K E], and the shares of a softmax of cosine / temperature.

    temperature: 0.01 is where all of OpenAI's models stopped. Shares compare the classes that were asked, no more: a
    picture of none of them has a highest share too.
    """
    cosines = system.embed_image(Batch(images=images[:, None])).float() @ classes.T
    return cosines, (cosines / temperature).softmax(1)
