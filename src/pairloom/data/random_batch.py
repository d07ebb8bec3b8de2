"""Random batch: tensors that a system can read and that mean nothing, as the laws of all systems need them.

B rows, N pictures of a row, T tokens, H sides of a picture.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pairloom.data.batch import Batch, Texts
from pairloom.data.records import Regions

ROWS = 6


def random_texts(config: Any, generator: torch.Generator, length: int = 8) -> Texts:
    """Texts [6 T] of different lengths, the first of them full, under the ids of a config (cls, sep, pad, vocabulary)."""
    mask = torch.arange(length) < torch.tensor([length, 5, length, 3, 6, length])[:, None]
    ids = torch.randint(config.sep + 2, config.vocabulary - 2, (ROWS, length), generator=generator)
    ids[:, 0] = config.cls
    ids[torch.arange(ROWS), mask.sum(1) - 1] = config.sep
    return Texts(ids.masked_fill(~mask, config.pad), mask)


def random_pairs(config: Any, generator: torch.Generator, pictures: int = 1) -> Batch:
    """Texts with pictures [6 N 3 H H], every picture another."""
    texts = random_texts(config, generator)
    images = torch.randn(ROWS, pictures, 3, config.image_size, config.image_size, generator=generator)
    return Batch(images=images, texts=texts, image_ids=torch.arange(ROWS))


def random_regions(
    config: Any, generator: torch.Generator, regions: int = 5, attributes: int = 0, classes: int | None = None
) -> Batch:
    """Texts with regions [6 1 R F] of every number from 1 to R, and the detector's distributions of classes (None: as many as the
    config says) and attributes; none where there are 0."""
    classes = config.classes if classes is None else classes
    texts = random_texts(config, generator)
    shape = (ROWS, 1, regions)
    features = torch.randn(*shape, config.features, generator=generator)
    corner = torch.rand(*shape, 2, generator=generator) / 2
    boxes = torch.cat([corner, corner + 0.1 + 0.4 * torch.rand(*shape, 2, generator=generator)], -1)
    mask = torch.arange(regions) < torch.tensor([regions, 4, 1, 3, regions, 2])[:, None, None]

    def shares(kinds: int) -> Tensor | None:
        if not kinds:
            return None
        chances = torch.rand(*shape, kinds, generator=generator)
        return chances / chances.sum(-1, keepdim=True)

    return Batch(
        texts=texts,
        regions=Regions(features, boxes, mask, shares(classes), shares(attributes)),
        image_ids=torch.arange(ROWS),
    )
