"""Two parts, trained one after the other: codes of pictures, then what predicts the codes from a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pairloom.data.batch import Batch
from pairloom.verbs import Ability


@dataclass(frozen=True)
class Config:
    image_size: int = 8
    vocabulary: int = 50
    length: int = 9
    width: int = 8
    dropout: float = 0.2


TINY = Config()
PRESETS: dict[str, Config] = {"base": TINY, "tiny": TINY}
RECIPES: dict[str, dict[str, object]] = {}


class System(nn.Module):
    abilities: ClassVar[tuple[Ability, ...]] = ()
    trains_on = ("pairs",)
    turns: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "codes": ("encoder.", "decoder."),
        "writer": ("writer.",),
    }
    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {"codes": ("codes",), "writer": ("writer",)}

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        side = 3 * c.image_size**2
        self.encoder = nn.Sequential(
            nn.Flatten(), nn.Dropout(c.dropout), nn.Linear(side, c.width), nn.BatchNorm1d(c.width)
        )
        self.decoder = nn.Linear(c.width, side)
        self.writer = nn.Embedding(c.vocabulary, c.width)

    def losses(self, batch: Batch, turn: str) -> dict[str, Tensor]:
        assert batch.images is not None
        images = batch.images[:, 0]
        codes = self.encoder(images)
        if turn == "codes":
            return {"rebuilt": (self.decoder(codes) - images.flatten(1)).square().mean()}
        tokens, keep = batch.text()
        written = (self.writer(tokens) * keep[..., None]).sum(1) / keep.sum(1, keepdim=True)
        return {"codes": (written - codes).square().mean()}


def fresh(config: Config = TINY) -> System:
    torch.manual_seed(0)
    return System(config)
