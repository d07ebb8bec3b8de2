"""What writers with an LSTM share: their State, additive attention, and reading their own words while they learn.

Does not know: vocabularies, pictures before they are rows, losses.

B texts, I pictures, P cells of a picture, C width of a cell, A width of the attention, D width of the LSTM, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass
class Recurrent:
    """hidden, cell [B D]. picture: [I ...] tensors of the pictures, each held once; owner [B]: which of them a row reads
    (None: row i reads picture i). attention [B P]: where on its picture each row looked last; None where nothing looks.
    """

    hidden: Tensor
    cell: Tensor
    picture: Sequence[Tensor] = ()
    owner: Tensor | None = None
    attention: Tensor | None = None

    def __len__(self) -> int:
        return len(self.hidden)

    def read(self) -> list[Tensor]:
        """What each row sees of its picture: [B ...] each."""
        return [part if self.owner is None else part[self.owner] for part in self.picture]

    def expand(self, times: int) -> Recurrent:
        """Every row `times` over, neighbours together."""
        return self.select(torch.arange(len(self), device=self.hidden.device).repeat_interleave(times))

    def select(self, rows: Tensor) -> Recurrent:
        """Rows in this order; pictures are not copied."""
        owner = rows if self.owner is None else self.owner[rows]
        attention = None if self.attention is None else self.attention[rows]
        return replace(self, hidden=self.hidden[rows], cell=self.cell[rows], owner=owner, attention=attention)


class AdditiveAttention(nn.Module):
    """Shares of the cells by softmax(u . tanh(W a + V h + b) + c) (Bahdanau et al., 2014).

    layers: maps that a cell goes through before h joins, with tanh after each but the first.
    """

    def __init__(self, cell: int, hidden: int, width: int, layers: int = 1) -> None:
        super().__init__()
        self.enter = nn.ModuleList(nn.Linear(width if at else cell, width) for at in range(layers))
        self.state = nn.Linear(hidden, width, bias=False)
        self.score = nn.Linear(width, 1)

    def project(self, cells: Float[Tensor, "I P C"]) -> Float[Tensor, "I P A"]:
        """The part that no word changes: once for each picture."""
        x = self.enter[0](cells)
        for layer in self.enter[1:]:
            x = torch.tanh(layer(x))
        return x

    def forward(
        self, projected: Float[Tensor, "B P A"], hidden: Float[Tensor, "B D"]
    ) -> Float[Tensor, "B P"]:
        scores = self.score(torch.tanh(projected + self.state(hidden)[:, None]))[..., 0]
        return scores.softmax(1)


def one_hot(chosen: Int[Tensor, " B"], like: Float[Tensor, "B P"]) -> Float[Tensor, "B P"]:
    """All attention on one cell of each row."""
    return torch.zeros_like(like).scatter(1, chosen[:, None], 1.0)


@torch.no_grad()
def scheduled_sampling(writer: Any, batch: Any, chance: float) -> Int[Tensor, "B T"]:
    """The tokens of the batch, each of them after the first replaced with probability `chance` by a draw of the writer's
    own from what it has read so far (scheduled sampling, Bengio et al., 2015, section 2.4). Any writer with start and step.

    No gradient passes through the draw there either, so the loss of reading these tokens is the paper's.
    """
    tokens: Tensor = batch.texts.ids
    if not chance:
        return tokens
    tokens = tokens.clone()
    state = writer.start(batch)
    for at in range(tokens.shape[1] - 1):
        logits, state = writer.step(state, tokens[:, at])
        own = torch.multinomial(logits.float().softmax(1), 1)[:, 0]
        swap = torch.rand(len(own), device=own.device) < chance
        tokens[:, at + 1] = torch.where(swap, own, tokens[:, at + 1])
    return tokens
