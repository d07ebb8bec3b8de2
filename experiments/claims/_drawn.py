"""Drawn pairs for the tests of claims, and the measures of a model on held-out clean pairs.

Does not know: papers, systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pairloom.metrics.overlap import cider_d
from pairloom.metrics.rank import ranks
from pairloom.metrics.words import tokenize
from pairloom.tasks.caption import caption
from pairloom.tasks.decode import Writing
from pairloom.world import Scene, World, draw, read
from pairloom.world.claim import is_true
from pairloom.world.read import parse

SHARES = {
    "mismatch": 0.7,
    "wrong_attribute": 0.3,
}  # noise in good English, which a filter can only find by reading


@dataclass(frozen=True)
class Pictures:
    """Drawn pairs in memory: pixels uint8 [n S S 3], one text each, and their scenes."""

    pixels: np.ndarray
    texts: tuple[str, ...]
    scenes: tuple[Scene, ...]

    def true(self, texts: Sequence[str]) -> list[bool]:
        """Whether each picture's text in `texts` has facts, all of them true."""
        return [read(text, scene).right for text, scene in zip(texts, self.scenes)]


def pictures(count: int, seed: int, size: int, noise: float = 0.0) -> Pictures:
    """Draw `count` pairs with terse captions, a share `noise` of them wrong."""
    world = World(count, seed, "simple", size, ("terse",), noise, SHARES)
    rows = list(world.rows())
    pixels = np.stack([draw(row.scene, size) for row in rows])
    return Pictures(pixels, tuple(row.text for row in rows), tuple(row.scene for row in rows))


def look(model: Any, pixels: np.ndarray) -> Tensor:
    """Normalised pixels of the model: [n 3 S S]."""
    return torch.from_numpy(model.pixels.normalise(pixels))


@torch.no_grad()
def measure(model: Any, held: Pictures) -> dict[str, list[float]]:
    """Measure a model on held-out pictures, each with: R@1 and R@5 (mean of both directions), the share of true facts in its
    written caption, whether all are true, and CIDEr-D against the true caption. Retrieval is by cosine; every caption that is
    true of a picture is a right answer.
    """
    images = look(model, held.pixels)
    batch = replace(model.batch(texts=held.texts), images=images[:, None])
    scores = (model.system.embed_image(batch) @ model.system.embed_text(batch).T).numpy()
    right = true_table(held.texts, held.scenes)
    rankings = [ranks(scores, right), ranks(scores.T, right.T)]
    written = write(model, held.pixels, Writing("beam", max_length=model.config.length, min_length=3))
    readings = [read(text, scene) for text, scene in zip(written, held.scenes)]
    cider = cider_d(tokenize(written), [tokenize([text]) for text in held.texts])
    return {
        "R@1": np.mean([way.hits(1) for way in rankings], 0).tolist(),
        "R@5": np.mean([way.hits(5) for way in rankings], 0).tolist(),
        "facts true": [
            float(np.mean([fact.true for fact in seen.stated])) if seen.stated else 0.0 for seen in readings
        ],
        "captions true": [float(seen.right) for seen in readings],
        "CIDEr-D": cider.each.tolist(),
    }


def true_table(texts: Sequence[str], scenes: Sequence[Scene]) -> np.ndarray:
    """Whether each text is true of each scene: [scenes texts]."""
    claims = [parse(text) for text in texts]
    return np.array([[is_true(claim, scene) for claim in claims] for scene in scenes])


def write(model: Any, pixels: np.ndarray, writing: Writing, seeds: Sequence[int] | None = None) -> list[str]:
    """Write one caption for each picture. seeds: one for each picture, for nucleus sampling."""
    texts: list[str] = []
    for at in range(0, len(pixels), 256):
        chosen = None if seeds is None else seeds[at : at + 256]
        captions = caption(model, look(model, pixels[at : at + 256]), writing, chosen)
        texts += [options[0].text for options in captions]
    return texts


@torch.no_grad()
def matches(model: Any, pixels: np.ndarray, texts: Sequence[str]) -> list[float]:
    """P(match) of each picture and its text, by the match head."""
    chances: list[float] = []
    for at in range(0, len(pixels), 256):
        batch = replace(
            model.batch(texts=list(texts[at : at + 256])), images=look(model, pixels[at : at + 256])[:, None]
        )
        chances += torch.sigmoid(model.system.match(batch)).tolist()
    return chances
