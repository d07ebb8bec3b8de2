"""Toy of regions (nobody, 2026): a text is encoded as the mean of its words, a picture as the mean of its regions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pairloom.data.batch import Batch
from pairloom.data.feed import RegionFeed
from pairloom.verbs import Ability


@dataclass(frozen=True)
class Config:
    """No image_size: it never sees a pixel. mask: an id that fits the tokenizer's."""

    features: int = 8
    regions: int = 5
    classes: int = 0
    vocabulary: int = 64
    length: int = 12
    pad: int = 0
    mask: int = 4
    width: int = 16


TINY = Config()
PRESETS = {"tiny": TINY}
RECIPES: dict[str, dict[str, object]] = {}


def feed(config: Config) -> RegionFeed:
    return RegionFeed(config.features, config.regions, config.classes)


class System(nn.Module):
    trains_on = ("pairs",)
    abilities = (Ability("embed", by="cosine"),)

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.words = nn.Embedding(config.vocabulary, config.width)
        self.regions = nn.Linear(config.features + 4, config.width)

    def embed_image(self, batch: Batch) -> Tensor:
        found = batch.required("regions")
        rows = self.regions(torch.cat([found.features, found.boxes], -1))
        mask = found.mask[..., None]
        return F.normalize((rows * mask).sum((1, 2)) / mask.sum((1, 2)), dim=-1)

    def embed_text(self, batch: Batch) -> Tensor:
        ids, mask = batch.text()
        return F.normalize((self.words(ids) * mask[..., None]).sum(1), dim=-1)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        scores = 10 * self.embed_image(batch) @ self.embed_text(batch).T
        return {"contrast": F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))}
