"""A painter that writes image codes after a text (a toy, nobody, 2026): it has no first token and is asked for no caption."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pairloom.blocks.recurrent import Recurrent
from pairloom.data.batch import Batch
from pairloom.data.random_batch import random_texts
from pairloom.data.records import Codes
from pairloom.verbs import DRAW, Ability


@dataclass(frozen=True)
class Config:
    """codes: of a picture; codebook: how many different ones."""

    codes: int = 4
    codebook: int = 8
    width: int = 24
    vocabulary: int = 64
    pad: int = 0
    cls: int = 2
    sep: int = 3


TINY = Config()
PRESETS = {"tiny": TINY}
RECIPES: dict[str, dict[str, object]] = {}


def example(config: Config, generator: torch.Generator) -> Batch:
    """Texts with the codes of their pictures."""
    texts = random_texts(config, generator)
    ids = torch.randint(config.codebook, (len(texts), config.codes), generator=generator)
    return Batch(texts=texts, codes=Codes(ids, torch.ones_like(ids, dtype=torch.bool)))


class System(nn.Module):
    """An LSTM over codes that begins with the mean word."""

    abilities = (Ability("write_codes", pictures=0), DRAW)
    trains_on = ("pairs",)

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.code_length, self.codebook_size = c.codes, c.codebook
        self.words, self.codes = nn.Embedding(c.vocabulary, c.width), nn.Embedding(c.codebook, c.width)
        self.lstm, self.head = nn.LSTMCell(c.width, c.width), nn.Linear(c.width, c.codebook)

    def start_codes(self, batch: Batch) -> tuple[Tensor, Recurrent]:
        texts = batch.required("texts")
        mask = texts.mask[..., None]
        words = (self.words(texts.ids) * mask).sum(1) / mask.sum(1)
        return self._read(words, Recurrent(torch.zeros_like(words), torch.zeros_like(words)))

    def step_codes(self, state: Recurrent, codes: Tensor) -> tuple[Tensor, Recurrent]:
        return self._read(self.codes(codes), state)

    def _read(self, x: Tensor, state: Recurrent) -> tuple[Tensor, Recurrent]:
        hidden, cell = self.lstm(x, (state.hidden, state.cell))
        return 10 * self.head(hidden), replace(state, hidden=hidden, cell=cell)

    def code_logits(self, batch: Batch) -> Tensor:
        ids = batch.required("codes").ids
        ids = ids if batch.image_of is None else ids[batch.image_of]
        logits, state = self.start_codes(batch)
        rows = [logits]
        for at in range(ids.shape[1] - 1):
            logits, state = self.step_codes(state, ids[:, at])
            rows.append(logits)
        return torch.stack(rows, 1)

    def decode_codes(self, codes: Tensor) -> Tensor:
        gray = codes.float() / (self.codebook_size - 1) * 2 - 1
        side = int(codes.shape[1] ** 0.5)
        return gray.unflatten(1, (1, side, side)).expand(-1, 3, -1, -1)

    def draw(self, batch: Batch, *, seeds: list[int] | None = None) -> Tensor:
        seeds = list(range(len(batch))) if seeds is None else seeds
        chances = [torch.Generator().manual_seed(seed) for seed in seeds]
        logits, state = self.start_codes(batch)
        codes: list[Tensor] = []
        for at in range(self.code_length):
            drawn = [
                torch.multinomial(row.softmax(0), 1, generator=chance) for row, chance in zip(logits, chances)
            ]
            codes.append(torch.cat(drawn))
            if at + 1 < self.code_length:
                logits, state = self.step_codes(state, codes[-1])
        return self.decode_codes(torch.stack(codes, 1))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        ids = batch.required("codes").ids
        ids = ids if batch.image_of is None else ids[batch.image_of]
        return {"codes": F.cross_entropy(self.code_logits(batch).flatten(0, 1), ids.flatten())}
