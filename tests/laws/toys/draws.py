"""A generator that only draws (a toy, nobody, 2026): two players, an optimiser each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pairloom.data.batch import Batch
from pairloom.data.random_batch import random_pairs
from pairloom.verbs import DRAW


@dataclass(frozen=True)
class Config:
    """side: of the pictures."""

    side: int = 4
    noise: int = 3
    width: int = 16
    vocabulary: int = 64
    pad: int = 0
    cls: int = 2
    sep: int = 3

    @property
    def image_size(self) -> int:
        return self.side


TINY = Config()
PRESETS = {"tiny": TINY}
RECIPES: dict[str, dict[str, object]] = {}


def example(config: Config, generator: torch.Generator) -> Batch:
    """Pictures to learn from; drawing reads the texts alone."""
    return random_pairs(config, generator)


class System(nn.Module):
    """Bag of words and noise to pixels; a judge of pixels and words."""

    abilities = (DRAW,)
    trains_on = ("pairs",)
    turns = {"discriminator": ("judge.", "judged."), "generator": ("words.", "paint.")}

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        pixels = 3 * c.side**2
        self.words = nn.Embedding(c.vocabulary, c.width)
        self.paint = nn.Sequential(nn.Linear(c.width + c.noise, 32), nn.Tanh(), nn.Linear(32, pixels))
        self.judged = nn.Embedding(c.vocabulary, c.width)
        self.judge = nn.Sequential(nn.Linear(c.width + pixels, 32), nn.ReLU(), nn.Linear(32, 1))

    def _bag(self, table: nn.Embedding, batch: Batch) -> Tensor:
        texts = batch.required("texts")
        mask = texts.mask[..., None]
        return (table(texts.ids) * mask).sum(1) / mask.sum(1)

    def _painted(self, batch: Batch, noise: Tensor) -> Tensor:
        flat = self.paint(torch.cat([self._bag(self.words, batch), noise], 1))
        return torch.tanh(flat).unflatten(1, (3, self.config.side, self.config.side))

    def draw(self, batch: Batch, *, seeds: list[int] | None = None) -> Tensor:
        seeds = list(range(len(batch))) if seeds is None else seeds
        noise = [
            torch.randn(self.config.noise, generator=torch.Generator().manual_seed(seed)) for seed in seeds
        ]
        return self._painted(batch, torch.stack(noise))

    def losses(self, batch: Batch, turn: str) -> dict[str, Tensor]:
        if batch.image_of is not None:
            batch = replace(batch, images=batch.required("images")[batch.image_of], image_of=None)
        chance = torch.Generator().manual_seed(int(torch.randint(1 << 30, ())) if self.training else 0)
        drawn = self._painted(batch, torch.randn(len(batch), self.config.noise, generator=chance))
        words = self._bag(self.judged, batch)

        def verdict(images: Tensor) -> Tensor:
            return self.judge(torch.cat([words, images.flatten(1)], 1))

        if turn == "generator":
            return {"fool": F.softplus(-verdict(drawn)).mean()}
        real, fake = verdict(batch.required("images")[:, 0]), verdict(drawn.detach())
        return {"tell apart": (F.softplus(-real) + F.softplus(fake)).mean()}
