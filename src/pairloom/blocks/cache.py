"""What a cached transformer that writes carries from step to step: keys and values of the past, and what its rows read.

Does not know: vocabularies, how the next token is chosen, where the past lies (storage.py).

B rows (texts being written). Rows of one picture read one context, which is never copied for a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pairloom.blocks.attention import KeyValue
from pairloom.blocks.cross import CrossKeyValues


@dataclass
class Cache:
    """context: what all rows read; owner [B]: which context each row reads; past: keys and values so far, of each layer
    (None before the first token); position: how many tokens were read."""

    context: CrossKeyValues
    owner: Tensor
    past: Sequence[KeyValue] | None = None
    position: int = 0

    def __len__(self) -> int:
        return len(self.owner)

    def expand(self, times: int) -> Cache:
        """Every row `times` over, neighbours together."""
        return self.select(torch.arange(len(self), device=self.owner.device).repeat_interleave(times))

    def select(self, rows: Tensor) -> Cache:
        """Rows in this order. Contexts that nobody reads any more are dropped once they are a quarter: each drop copies."""
        context, owner = self.context, self.owner[rows]
        used = torch.unique(owner)
        if 4 * len(used) <= 3 * len(context):
            context, owner = context.select(used), torch.searchsorted(used, owner)
        past = None if self.past is None else [layer.select(rows) for layer in self.past]
        return Cache(context.read_by(owner), owner, past, self.position)
