"""Rows grouped by what they share, so that it is read once for all of a group.

Does not know: what is shared (a context, a text), attention.

B rows, T positions of a row, M groups, n rows of the largest group, D width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


class GroupedRows:
    """Rows grouped by their owner as a padded table: [B T ...] <-> [M n*T ...].

    Neighbours of equal number are grouped by a view, without a copy. Ragged groups are padded with copies of row 0, whose
    results `unpad` leaves out. Raises ValueError for an owner that is not among the groups. Waits for the device.
    """

    def __init__(self, owner: Int[Tensor, " B"], groups: int) -> None:
        sizes = torch.bincount(owner, minlength=groups)
        if len(sizes) > groups:
            raise ValueError(f"a row reads context {len(sizes) - 1}, but there are {groups}")
        self.owner, self.groups, self.most = owner, groups, int(sizes.max())
        order = torch.argsort(owner, stable=True)
        rank = torch.arange(len(owner), device=owner.device) - (sizes.cumsum(0) - sizes)[owner[order]]
        place = owner[order] * self.most + rank
        self.place = torch.empty_like(place).scatter_(0, order, place)
        self.source = place.new_zeros(groups * self.most).scatter_(
            0, self.place, torch.arange(len(owner), device=owner.device)
        )
        self.even = len(owner) == groups * self.most and bool((order == place).all())

    def pad(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "M U D"]:
        """The table of the groups: U = n * T."""
        x = x if self.even else x.index_select(0, self.source)
        return x.reshape(self.groups, -1, x.shape[-1])

    def unpad(self, x: Float[Tensor, "M U D"]) -> Float[Tensor, "B T D"]:
        """The rows again, in their order."""
        x = x.reshape(self.groups * self.most, -1, x.shape[-1])
        return x if self.even else x[self.place]
