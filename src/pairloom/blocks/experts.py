"""Position-wise experts: every kind of position (a patch, a token) goes through a map of its own.

B rows, T positions, K kinds, D width.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class Routing(NamedTuple):
    """Which positions each expert is given, the same in every row: laid out once for all layers of a pass.

    positions: of each kind in their order; back: where each position lies among them.
    """

    positions: tuple[Tensor, ...]
    back: Tensor

    @classmethod
    def of(cls, kinds: Int[Tensor, " T"], experts: int) -> Routing:
        """kinds: the expert of each position. ValueError for one that there is not. Waits for the device, once."""
        counts = torch.bincount(kinds, minlength=experts).tolist()
        if len(counts) > experts:
            raise ValueError(f"a position is of kind {len(counts) - 1}, but there are {experts} experts")
        order = torch.argsort(kinds, stable=True)
        return cls(order.split(counts), torch.argsort(order))


class Experts(nn.Module):
    """Multiway experts (Bao et al., 2022, VLMo; Wang et al., 2022, BEiT-3): the position's kind chooses the module.

    each: modules that map positions [B T D] independently of each other, such as a residual feed-forward part.
    """

    def __init__(self, each: Iterable[nn.Module]) -> None:
        super().__init__()
        self.each = nn.ModuleList(each)

    def forward(self, x: Float[Tensor, "B T D"], routing: Routing | None = None) -> Float[Tensor, "B T D"]:
        """Without a routing all positions are of the first kind."""
        if routing is None:
            return self.each[0](x)
        parts = zip(self.each, routing.positions)
        y = torch.cat([expert(x[:, places]) for expert, places in parts if len(places)], 1)
        return y[:, routing.back]
