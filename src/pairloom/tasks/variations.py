"""Variations of pictures by a model that draws from embeddings (DALL-E 2): other pictures of an embedding, what lies between two
pictures, and a picture changed as one text differs from another (Ramesh et al., 2022, section 3).

I pictures, E embedding, H W sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pairloom.errors import Mistake
from pairloom.model import Model


def slerp(start: Float[Tensor, "I D"], end: Float[Tensor, "I D"], share: float) -> Float[Tensor, "I D"]:
    """Spherical interpolation: 0 is the start, 1 the end. Lengths are interpolated, too; parallel rows are mixed."""
    sizes = [one.norm(dim=1, keepdim=True).clamp(min=1e-12) for one in (start, end)]
    a, b = start / sizes[0], end / sizes[1]
    angle = (a * b).sum(1, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin()
    weights = ((1 - share) * angle).sin() / sine, (share * angle).sin() / sine
    mixed = torch.where(sine > 1e-6, weights[0] * a + weights[1] * b, (1 - share) * a + share * b)
    return mixed * ((1 - share) * sizes[0] + share * sizes[1])


@torch.no_grad()
def variations(
    model: Model,
    images: Float[Tensor, "I 3 H W"],
    seeds: Sequence[int],
    eta: float = 1.0,
    steps: int | None = None,
) -> Float[Tensor, "I 3 H W"]:
    """A variation of each picture in [-1, 1], which has its embedding. eta: 0 gives the picture back as far as the decoder can, 1 keeps
    only what the embedding says; between them the noise on the way is theirs in part. seeds: of that noise."""
    system = _painter(model)
    image, noise = system.invert(images, steps)
    return _drawn(system, image, noise, seeds, eta, steps)


@torch.no_grad()
def interpolation(
    model: Model,
    pair: Float[Tensor, "2 3 H W"],
    shares: Sequence[float],
    seed: int = 0,
    steps: int | None = None,
) -> Float[Tensor, "I 3 H W"]:
    """Pictures between two: embeddings and noise are both interpolated on the sphere. shares: 0 the first, 1 the second."""
    system = _painter(model)
    image, noise = system.invert(pair, steps)
    between = [
        torch.cat([slerp(rows[:1], rows[1:], share) for share in shares])
        for rows in (image, noise.flatten(1))
    ]
    start = between[1].unflatten(1, noise.shape[1:])
    return _drawn(system, between[0], start, [seed] * len(shares), 0.0, steps)


@torch.no_grad()
def text_difference(
    model: Model,
    images: Float[Tensor, "I 3 H W"],
    before: str,
    after: str,
    share: float = 0.35,
    steps: int | None = None,
) -> Float[Tensor, "I 3 H W"]:
    """Pictures changed as the text `after` differs from `before`: the embedding is turned towards the difference of the texts' embeddings by
    a share of the way (a quarter to a half in the paper), the noise stays."""
    system = _painter(model)
    image, noise = system.invert(images, steps)
    old, new = system.encode_text(*model.batch(texts=[before, after]).text()).pooled
    difference = torch.nn.functional.normalize(new - old, dim=0) * image.norm(dim=1, keepdim=True)
    return _drawn(system, slerp(image, difference, share), noise, [0] * len(images), 0.0, steps)


def _drawn(
    system: Any, image: Tensor, noise: Tensor, seeds: Sequence[int], eta: float, steps: int | None
) -> Float[Tensor, "I 3 H W"]:
    """Pictures of embeddings and noise, without a text and at full size."""
    chances = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    text = system.empty_text(len(image))
    small = system.decode(image, text, chances, steps, 1.0, noise, eta)
    return system.enlarge(small, chances, steps)  # type: ignore[no-any-return]


def _painter(model: Model) -> Any:
    """The system, which reads pictures and draws from embeddings. Mistake for another."""
    if model.name != "dalle2" or not model.config.reads_images:
        why = (
            "It does not draw from embeddings of pictures."
            if model.name != "dalle2"
            else "It has no image side of CLIP."
        )
        raise Mistake(f"This {model.name} makes no variations.", why, "Use a dalle2 that embeds pictures.")
    return model.system
