"""A matcher that reads regions and no pixels (a toy, nobody, 2026)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pairloom.data.batch import Batch
from pairloom.data.random_batch import random_texts
from pairloom.data.records import Regions
from pairloom.verbs import MATCH


@dataclass(frozen=True)
class Config:
    """features: of a region."""

    features: int = 5
    regions: int = 4
    width: int = 16
    vocabulary: int = 64
    pad: int = 0
    cls: int = 2
    sep: int = 3


TINY = Config()
PRESETS = {"tiny": TINY}
RECIPES: dict[str, dict[str, object]] = {}


def example(config: Config, generator: torch.Generator) -> Batch:
    """Texts with regions, some of them padding."""
    texts = random_texts(config, generator)
    shape = (len(texts), 1, config.regions)
    features = torch.randn(*shape, config.features, generator=generator)
    boxes = torch.rand(*shape, 4, generator=generator)
    mask = torch.arange(config.regions).expand(shape) < 1 + torch.arange(len(texts))[:, None, None] % 4
    return Batch(texts=texts, regions=Regions(features, boxes, mask), labels=torch.arange(len(texts)) % 2)


class System(nn.Module):
    """Mean region times mean word."""

    abilities = (MATCH,)
    trains_on = ("pairs",)

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.words = nn.Embedding(c.vocabulary, c.width)
        self.seen = nn.Linear(c.features + 4, c.width)
        self.head = nn.Linear(c.width, 1)

    def match(self, batch: Batch) -> Tensor:
        texts, regions = batch.required("texts"), batch.required("regions")
        mask = texts.mask[..., None]
        words = (self.words(texts.ids) * mask).sum(1) / mask.sum(1)
        seen = self.seen(torch.cat([regions.features, regions.boxes], -1)) * regions.mask[..., None]
        pictures = seen.sum((1, 2)) / regions.mask.sum((1, 2))[:, None]
        return self.head(words * (pictures if batch.image_of is None else pictures[batch.image_of]))[:, 0]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        loss = F.binary_cross_entropy_with_logits(self.match(batch), batch.required("labels").float())
        return {"match": loss}
