"""Attention over itself or over a memory, projected once and read by as many rows as like.

Does not know: layers, norms, residuals, masks beyond the one it is handed.

B rows, T positions, M memories, S positions of a memory, H heads, d width of a head, D width, C width of the context,
O width of what comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


@dataclass
class KeyValue:
    """Keys and values of one layer: [B H S d] each."""

    keys: Tensor
    values: Tensor

    def select(self, rows: Tensor) -> KeyValue:
        """Rows in this order."""
        return KeyValue(self.keys[rows], self.values[rows])

    def append(self, new: KeyValue) -> KeyValue:
        """The same rows with later positions added."""
        return KeyValue(torch.cat([self.keys, new.keys], 2), torch.cat([self.values, new.values], 2))


class PackedSequence:
    """Lays rows that read the same memory along the query axis, so that a memory is never copied per row. With tokens as
    rows of one position, and texts as what they read, it lays packed texts out as a padded table.

    [B T ...] <-> [M n*T ...], where n is the most rows that one memory has. Neighbours of equal number cost nothing (a
    view); ragged readers are padded with copies of row 0, whose results are thrown away.
    """

    def __init__(self, owner: Int[Tensor, " B"], memories: int) -> None:
        sizes = torch.bincount(owner, minlength=memories)
        if len(sizes) > memories:
            raise ValueError(f"a row reads memory {len(sizes) - 1}, but there are {memories}")
        self.owner, self.memories, self.most = owner, memories, int(sizes.max())
        order = torch.argsort(owner, stable=True)
        rank = torch.arange(len(owner), device=owner.device) - (sizes.cumsum(0) - sizes)[owner[order]]
        place = owner[order] * self.most + rank
        self.place = torch.empty_like(place).scatter_(0, order, place)
        self.source = place.new_zeros(memories * self.most).scatter_(
            0, self.place, torch.arange(len(owner), device=owner.device)
        )
        self.even = len(owner) == memories * self.most and bool((order == place).all())

    def into(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "M U D"]:
        x = x if self.even else x.index_select(0, self.source)
        return x.reshape(self.memories, -1, x.shape[-1])

    def back(self, x: Float[Tensor, "M U D"]) -> Float[Tensor, "B T D"]:
        x = x.reshape(self.memories * self.most, -1, x.shape[-1])
        return x if self.even else x[self.place]


@dataclass
class CrossKeyValues:
    """What cross-attention reads, projected once per context and layer. keep [M S]: True = real; None = all of it.

    fold: which rows read which memory; None means that row i reads memory i.
    """

    layers: Sequence[KeyValue]
    keep: Tensor | None = None
    packing: PackedSequence | None = None

    def __len__(self) -> int:
        return len(self.layers[0].keys)

    def select(self, rows: Tensor) -> CrossKeyValues:
        """Memories in this order, one per row of the readers to come. Copies."""
        keep = None if self.keep is None else self.keep[rows]
        return CrossKeyValues([layer.select(rows) for layer in self.layers], keep)

    def read_by(self, owner: Tensor) -> CrossKeyValues:
        """The same memories, uncopied, where row i of the reader reads memory owner[i]."""
        return replace(self, packing=PackedSequence(owner, len(self)))

    def near(self, owner: Tensor) -> CrossKeyValues:
        """`read_by` of the memories from the first to the last that is read: a view, so that nobody attends for the rest."""
        first, last = int(owner.min()), int(owner.max()) + 1
        if (first, last) == (0, len(self)):
            return self.read_by(owner)
        layers = [KeyValue(layer.keys[first:last], layer.values[first:last]) for layer in self.layers]
        keep = None if self.keep is None else self.keep[first:last]
        return CrossKeyValues(layers, keep).read_by(owner - first)


class Attention(nn.Module):
    """Scaled dot-product attention (Vaswani et al., 2017). out_width: of what comes out; inside: of all heads together, where
    that is not the width of the rows; bias: of the projections."""

    def __init__(
        self,
        width: int,
        heads: int,
        context_width: int | None = None,
        dropout: float = 0.0,
        out_width: int | None = None,
        inside: int | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        inside = inside or width
        if inside % heads:
            raise ValueError(f"width {inside} is not a multiple of {heads} heads")
        context_width = context_width or width
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, inside, bias)
        self.key = nn.Linear(context_width, inside, bias)
        self.value = nn.Linear(context_width, inside, bias)
        self.out = nn.Linear(inside, out_width or width, bias)

    def project(self, context: Float[Tensor, "B S C"], packing: PackedSequence | None = None) -> KeyValue:
        """Keys and values of a context, laid out by a fold where there is one."""
        keys, values = self.key(context), self.value(context)
        if packing:
            keys, values = packing.into(keys), packing.into(values)
        return KeyValue(self._split(keys), self._split(values))

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        read: KeyValue | None = None,
        mask: Bool[Tensor, "#M 1 #U S"] | None = None,
        packing: PackedSequence | None = None,
    ) -> Float[Tensor, "B T O"]:
        """Attend to `read`, or to x itself where there is none. mask: True = may be seen; under a fold it has M rows."""
        read = read or self.project(x, packing)
        query = self.query(x)
        query = self._split(packing.into(query) if packing else query)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(query, read.keys, read.values, attn_mask=mask, dropout_p=dropout)
        y = y.transpose(1, 2).flatten(2)
        return self.out(packing.back(y) if packing else y)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
