"""Scaled dot-product attention of many heads: over x itself, over another sequence, or over cached keys and values.

Does not know: layers, norms, residuals, padding, who shares what with whom.

B rows, T positions, S positions of what is attended to, H heads, d width of a head, D width, C width of the context,
I width of all heads together, O width of the output.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn


@dataclass
class KeyValue:
    """Projected keys and values: [B H S d] each."""

    keys: Tensor
    values: Tensor

    def select(self, rows: Tensor) -> KeyValue:
        """Rows in this order."""
        return KeyValue(self.keys[rows], self.values[rows])


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al., 2017): softmax(scale q k' + mask) v, then an output projection.

    context_width: of the rows that keys and values are projected from; inside: of all heads together; out_width: of the
    output; each is `width` where it is not given. bias: of the projections. scale: of the products (None: 1 / sqrt(d)).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        context_width: int | None = None,
        dropout: float = 0.0,
        out_width: int | None = None,
        inside: int | None = None,
        bias: bool = True,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        inside, context_width = inside or width, context_width or width
        if heads < 1 or inside % heads:
            raise ValueError(f"width {inside} is not a multiple of {heads} heads")
        self.heads, self.dropout, self.scale = heads, dropout, scale
        self.query = nn.Linear(width, inside, bias)
        self.key = nn.Linear(context_width, inside, bias)
        self.value = nn.Linear(context_width, inside, bias)
        self.out = nn.Linear(inside, out_width or width, bias)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        read: KeyValue | None = None,
        mask: Bool[Tensor, "#B #H #T S"] | Float[Tensor, "#B #H #T S"] | None = None,
    ) -> Float[Tensor, "B T O"]:
        """Attend to `read`, or to x itself where there is none. mask: True = may be seen; floats are added to the products."""
        read = read or self.project(x)  # before the query: gradients of x are then summed in this order
        return self.out(self.dot_product(self.query(x), read, mask))

    def project(self, context: Float[Tensor, "B S C"]) -> KeyValue:
        """Keys and values of a context."""
        return KeyValue(self.split(self.key(context)), self.split(self.value(context)))

    def dot_product(
        self, query: Float[Tensor, "B T I"], read: KeyValue, mask: Tensor | None = None
    ) -> Float[Tensor, "B T I"]:
        """What lies between the projections: each head's weighted mean of the values, side by side."""
        y = F.scaled_dot_product_attention(
            self.split(query),
            read.keys,
            read.values,
            mask,
            self.dropout if self.training else 0.0,
            scale=self.scale,
        )
        return y.transpose(1, 2).flatten(2)

    def split(self, x: Float[Tensor, "B T I"]) -> Float[Tensor, "B H T d"]:
        """Into heads."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
