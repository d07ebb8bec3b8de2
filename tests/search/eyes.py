"""A model that sees colours: what it answers can be told by hand, and it needs no learning."""

from __future__ import annotations

import re
from dataclasses import dataclass

import colours
import torch
from torch import Tensor, nn

from pairloom.data.batch import Batch
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform
from pairloom.model import Model
from pairloom.verbs import EMBED, MATCH

NAMES = tuple(colours.COLOURS)


@dataclass(frozen=True)
class Config:
    embedding: int = 9
    length: int = 12
    image_size: int = 32


class Eye(nn.Module):
    """One axis a colour, and a small one for every text: E = 9. Match: 10 x cosine - 5."""

    abilities = (MATCH, EMBED)

    def __init__(self, tokens: Tokens, gain: float = 1.0) -> None:
        super().__init__()
        self.config = Config()
        self.gain = nn.Parameter(torch.tensor(gain))
        self.ids = [tokens.rows([name], 5)[0][1] for name in NAMES]
        self.looks = 0

    def embed_image(self, batch: Batch) -> Tensor:
        assert batch.images is not None
        self.looks += len(batch.images)
        mean, std = (torch.tensor(each)[:, None] for each in (Transform().mean, Transform().std))
        seen = (batch.images[:, 0].flatten(2) * std + mean).median(2).values * 255
        far = torch.cdist(seen, torch.tensor([colours.COLOURS[name] for name in NAMES], dtype=torch.float32))
        made = torch.cat([torch.exp(-((far / 90) ** 2)), torch.full((len(far), 1), 0.1)], 1)
        return nn.functional.normalize(made * self.gain.detach(), dim=1)

    def embed_text(self, batch: Batch) -> Tensor:
        assert batch.texts is not None
        made = torch.stack([(batch.texts.ids == one).any(1).float() for one in self.ids], 1)
        return nn.functional.normalize(torch.cat([made, torch.full((len(made), 1), 0.1)], 1), dim=1)

    def match(self, batch: Batch) -> Tensor:
        images, texts = self.embed_image(batch), self.embed_text(batch)
        return 10 * (images[batch.image_of] * texts).sum(1) - 5


def eye(gain: float = 1.0) -> Model:
    said = [colours.said(colour, pattern) for colour in NAMES for pattern in colours.PATTERNS]
    tokens = Tokens.train([*said, *said], 200)
    return Model("eye", Eye(tokens, gain), tokens, Transform(32))


def colour_of(found) -> str:
    return next(name for name in NAMES if re.search(rf"\b{name}\b", found.texts[0]))
