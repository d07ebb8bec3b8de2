"""The position-wise feed-forward part of a transformer block, its activations, and the norms beside it.

B rows, T positions, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "squared_relu"]
NormKind = Literal["layer", "rms"]


def quick_gelu(x: Tensor) -> Tensor:
    """GELU by a sigmoid (Hendrycks and Gimpel, 2016, section 2): weights trained with it need it."""
    return x * torch.sigmoid(1.702 * x)


def squared_relu(x: Tensor) -> Tensor:
    """The square of ReLU (So et al., 2021, "Primer")."""
    return F.relu(x).square()


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "quick_gelu": quick_gelu,
    "relu": F.relu, "squared_relu": squared_relu,
}  # fmt: skip


class FeedForward(nn.Module):
    """Two linear maps with an activation between (Vaswani et al., 2017, section 3.3); "gelu" is the exact one, by erf."""

    def __init__(self, width: int, hidden: int, activation: Activation = "gelu", bias: bool = True) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden, bias)
        self.down = nn.Linear(hidden, width, bias)
        self.activation = activation

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        return self.down(ACTIVATIONS[self.activation](self.up(x)))


def norm_of(kind: NormKind, width: int, eps: float) -> nn.Module:
    """LayerNorm (Ba et al., 2016), or RMSNorm (Zhang and Sennrich, 2019), which has neither mean nor bias."""
    return nn.LayerNorm(width, eps=eps) if kind == "layer" else nn.RMSNorm(width, eps=eps)
