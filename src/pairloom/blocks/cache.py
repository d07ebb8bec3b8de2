"""Cache: what a cached transformer that writes carries from step to step.

Does not know: vocabularies, how the next token is chosen.

A row is a text being written; rows of one picture read one memory, which is never copied per row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pairloom.blocks.attention import CrossKeyValues, KeyValue


@dataclass
class Cache:
    """memory: what all rows read; owner [B]: which memory each row reads; past: keys and values so far, per layer
    (None before the first token); at: how many tokens were read."""

    memory: CrossKeyValues
    owner: Tensor
    past: list[KeyValue] | None = None
    at: int = 0

    def __len__(self) -> int:
        return len(self.owner)

    def expand(self, times: int) -> Cache:
        """Every row `times` over, neighbours together."""
        return self.select(torch.arange(len(self), device=self.owner.device).repeat_interleave(times))

    def select(self, rows: Tensor) -> Cache:
        """Rows in this order. Memories that nobody reads any more are dropped once they are a quarter: each drop copies."""
        memory, owner = self.memory, self.owner[rows]
        used = torch.unique(owner)
        if 4 * len(used) <= 3 * len(memory):
            memory, owner = memory.select(used), torch.searchsorted(used, owner)
        past = None if self.past is None else [layer.select(rows) for layer in self.past]
        return Cache(memory.read_by(owner), owner, past, self.at)
