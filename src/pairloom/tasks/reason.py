"""Visual reasoning: is a statement about these pictures true? And the metrics of such verdicts. Requires `match`.

B statements, N pictures of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pairloom.data.batch import Batch
from pairloom.data.datasets.statements import plain
from pairloom.data.detected import Detected
from pairloom.data.pixels import Picture
from pairloom.errors import Mistake
from pairloom.metrics.answers import consistency
from pairloom.model import Model
from pairloom.model.numbers import finite
from pairloom.model.pictures import fields_of


@dataclass(frozen=True)
class Verdict:
    """Verdict on a statement: whether it is true of its pictures, and the probability that it is."""

    true: bool
    chance: float


def demand_pictures(model: Model, there: int) -> None:
    """Raise Mistake where a statement has another number of pictures than the model reads."""
    wanted = model.config.pictures
    if there != wanted:
        raise Mistake(
            f"A statement for this model has {wanted} picture{'s' * (wanted != 1)}, not {there}.",
            "Each picture of a statement has a cross-attention of its own.",
            "Give them in their order, then the statement in quotes.",
        )


@torch.no_grad()
def reason(
    model: Model,
    images: Tensor | Sequence[Sequence[Picture | Detected]],
    statements: Sequence[str],
    image_of: Sequence[int] | None = None,
) -> list[Verdict]:
    """Verdicts on statements about pictures, which are normalised [I N 3 H W], or lists of N pictures or of their regions. image_of: the pictures of each
    statement (None: statement i has row i)."""
    shown = {"images": images} if isinstance(images, Tensor) else fields_of(model, images)
    texts = model.texts([plain(text) for text in statements])
    owner = None if image_of is None else torch.tensor(list(image_of))
    batch = Batch(**shown, texts=texts, image_of=owner).to(model.device)
    chances = finite(model.system.match(batch).float(), "scores").sigmoid().tolist()
    return [Verdict(chance > 0.5, chance) for chance in chances]


def verdicts(chances: Sequence[float], true: Sequence[bool], group: Sequence[str]) -> dict[str, float]:
    """Metrics of verdicts: accuracy, and consistency over groups (statements with the same sentence)."""
    right = (np.asarray(chances) > 0.5) == np.asarray(true, dtype=bool)
    return {"accuracy": float(right.mean()), "consistency": consistency(right, group)}
