"""Cross-attention to contexts that several rows share: projected once, and never copied for a row.

Does not know: what a context is (a picture, a question), layers, norms.

B rows, T positions of a row, M contexts, S positions of a context, U positions of all rows that read one, D width, O width
of the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jaxtyping import Bool, Float
from torch import Tensor

from pairloom.blocks.attention import Attention, KeyValue

if TYPE_CHECKING:
    from pairloom.blocks.grouping import GroupedRows


@dataclass
class CrossKeyValues:
    """The keys and values that cross-attention reads, projected once for each context and layer.

    mask [M S]: True = real; None: all of it is. readers: which rows read which context; None: row i reads context i.
    """

    layers: Sequence[KeyValue]
    mask: Tensor | None = None
    readers: GroupedRows | None = None

    def __len__(self) -> int:
        return len(self.layers[0].keys)

    def select(self, rows: Tensor) -> CrossKeyValues:
        """Contexts in this order, one for each row that is to read them. Copies."""
        mask = None if self.mask is None else self.mask[rows]
        return CrossKeyValues([layer.select(rows) for layer in self.layers], mask)

    def read_by(self, owner: Tensor) -> CrossKeyValues:
        """The same contexts, uncopied, where row i reads context owner[i]."""
        from pairloom.blocks.grouping import GroupedRows

        return replace(self, readers=GroupedRows(owner, len(self)))

    def narrowed_to(self, owner: Tensor) -> CrossKeyValues:
        """`read_by` of the contexts from the first to the last that is read: a view, so that nothing is computed for others."""
        first, last = int(owner.min()), int(owner.max()) + 1
        if (first, last) == (0, len(self)):
            return self.read_by(owner)
        layers = [KeyValue(layer.keys[first:last], layer.values[first:last]) for layer in self.layers]
        mask = None if self.mask is None else self.mask[first:last]
        return CrossKeyValues(layers, mask).read_by(owner - first)


class CrossAttention(Attention):
    """Attention to keys and values that several rows may share: they are laid along one query axis."""

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        read: KeyValue | None = None,
        mask: Bool[Tensor, "#M #H #U S"] | Float[Tensor, "#M #H #U S"] | None = None,
        readers: GroupedRows | None = None,
    ) -> Float[Tensor, "B T O"]:
        """mask: of the contexts, under `readers` of their tables."""
        if readers is None or read is None:
            return super().forward(x, read, mask)
        return self.out(readers.unpad(self.dot_product(readers.pad(self.query(x)), read, mask)))
