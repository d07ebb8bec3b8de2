"""A small system of its own, so that the loop is tested without any paper; run as a script it trains itself."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy
import torch
from torch import Tensor, nn

from pairloom.config import override
from pairloom.data.batch import Batch
from pairloom.data.loader import InMemoryImages, Loader, TextTable, pair_loader
from pairloom.train.loop import Fitted, fit
from pairloom.train.settings import Settings


class Small(nn.Module):
    """A dual encoder by regression: the mean of each row's own loss, so that parts add up to the whole.

    The word table has two names (shared), `count` is a buffer that losses fill, `drop` makes steps random.
    """

    def __init__(self, drop: float = 0.0) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.Flatten(), nn.Linear(3 * 8 * 8, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 8)
        )
        self.words = nn.Embedding(50, 8)
        self.again = self.words
        self.drop = nn.Dropout(drop)
        self.register_buffer("count", torch.zeros(()))
        torch.manual_seed(0)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.1)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.images is not None and batch.texts is not None
        seen = self.drop(self.look(batch.images[:, 0]))
        read = (self.words(batch.texts.ids) * batch.texts.mask[..., None]).sum(1) / batch.texts.mask.sum(
            1, keepdim=True
        )
        if self.training:
            self.count += 1
        near = (seen - read - 1).square().mean(1)
        return {"near": near.mean(), "small": 0.1 * seen.square().mean(1).mean()}


def small_loader(rows: int = 40, workers: int = 0, **held: float) -> Loader:
    draw = numpy.random.default_rng(7)
    pixels = draw.integers(0, 256, (rows, 8, 8, 3), dtype=numpy.uint8)
    tokens = draw.integers(5, 50, (rows, 9))
    keep = numpy.arange(9) < draw.integers(3, 10, rows)[:, None]
    pictures = InMemoryImages(pixels, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), **held)
    return pair_loader(pictures, TextTable.from_ids(tokens, keep), window=2, workers=workers)


def train(out: Path | None, settings: Settings, drop: float = 0.0, workers: int = 0) -> tuple[Small, Fitted]:
    system = Small(drop)
    return system, fit(system, small_loader(workers=workers, crop=0.5, flip=0.5), settings, out)


if __name__ == "__main__":  # small.py OUT DROP key=value ...
    torch.set_num_threads(1)
    train(Path(sys.argv[1]), override(Settings(), sys.argv[3:]), drop=float(sys.argv[2]))
