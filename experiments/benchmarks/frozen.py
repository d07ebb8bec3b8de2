"""Training on cached encodings of a frozen image tower, which makes a step ten times cheaper (docs/log.md). Three benchmarks use
this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from pairloom.data.batch import Batch
from pairloom.data.cached import CachedImages
from pairloom.data.loader import Loader, Pictures
from pairloom.data.order import Plan
from pairloom.model import Model
from pairloom.systems.blip import ImageRows
from pairloom.train.loop import fit
from pairloom.train.settings import Settings

PATCH = 8


def shape(size: int, width: int, depth: int) -> list[str]:
    """Settings of a small model: a residual stem without transformer layers, and `depth` text layers that read its cells."""
    return [
        "stem=residual", "image_depth=0", f"patch={PATCH}", f"image_size={size}", f"image_width={width}",
        "image_heads=4", f"width={width}", f"depth={depth}", "heads=4", "positions=64", "length=40",
    ]  # fmt: skip


@dataclass(frozen=True)
class Rememberer:
    """Batches of a Loader over CachedImages, with encodings in the place of pictures; a blip's are wrapped in its own record."""

    loader: Loader
    blip: bool = False

    def steps(self, plan: Plan) -> int:
        return self.loader.steps(plan)

    def identity(self) -> str:
        return self.loader.identity()

    def read(self, plan: Plan, epoch: int, step: int = 0) -> Iterator[list[Batch]]:
        for parts in self.loader.read(plan, epoch, step):
            yield [
                replace(part, images=None, encoded=ImageRows(part.images) if self.blip else part.images)
                for part in parts
            ]


def encoded_pictures(model: Model, tower: nn.Module, pictures: numpy.ndarray | Pictures) -> CachedImages:
    """Freeze an image tower and cache its encodings of all pictures, uint8 [M X Y 3] or a loader's source."""
    tower.eval().requires_grad_(False)

    def encode_image(rows: numpy.ndarray, view: int) -> Tensor:
        if isinstance(pictures, numpy.ndarray):
            rows_of_cells: Tensor = tower(torch.from_numpy(model.pixels.normalise(pictures[rows])))
            return rows_of_cells
        plain = torch.zeros(len(rows), 4), torch.ones(len(rows), dtype=torch.bool)
        rows_of_cells = tower(pictures.look(rows, *plain)[0])
        return rows_of_cells

    return CachedImages.by(encode_image, numpy.arange(len(pictures)), len(pictures))


def learn(system: Any, batches: Any, steps: int, lr: float, seed: int, **more: Any) -> float:
    """Train on one thread. Returns the last logged loss."""
    settings = Settings(
        lr=lr, min_lr=0.0, steps=steps, warmup=0.1, weight_decay=0.05, betas=(0.9, 0.98), seed=seed, threads=1,
        log_every=50, **{"batch": 64, **more},
    )  # fmt: skip
    return float(fit(system, batches, settings).lines[-1]["loss"])


def ends(interval: Any) -> list[float]:
    """An interval as a list for JSON."""
    return [round(interval.low, 4), round(interval.high, 4)]
