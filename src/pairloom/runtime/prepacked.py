"""Linear maps prepacked for the processor, in place of a network's own.

B rows, D width, O width of the output.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pairloom.blocks.alternating import AlternatingStack
from pairloom.blocks.attention import Attention
from pairloom.blocks.feed import FeedForward
from pairloom.blocks.gated import GatedCrossBlock
from pairloom.blocks.language import LanguageHead
from pairloom.blocks.transformer import Stack


def prepack(network: nn.Module, dtype: torch.dtype) -> None:
    """Prepack every linear map of a network's transformers and word heads in place."""
    for part in list(network.modules()):
        if isinstance(part, Stack | AlternatingStack | GatedCrossBlock):
            _prepack(part, dtype)
        elif isinstance(part, LanguageHead):
            part.dense, part.table = PrepackedLinear(part.dense.weight, part.dense.bias, dtype), Table(dtype)


class PrepackedLinear(nn.Module):
    """Linear layer with its weight [O D] prepacked in oneDNN's layout, so that no call converts it again.

    Decoding is bound by reading weights: bf16 halves the bytes, and the prepacked layout avoids a copy at every step. gelu:
    a GELU is fused, before the sum is rounded to bf16.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, gelu: bool = False) -> None:
        super().__init__()
        self.dtype, self.gelu = dtype, gelu
        self.bias = None if bias is None else bias.detach().to(dtype)
        plain = weight.detach().to(dtype)
        self.laid = _laid(plain)
        self.plain = plain if self.laid is None else None

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B O"]:
        x = x.to(self.dtype)
        if self.laid is None:
            assert self.plain is not None
            y = F.linear(x, self.plain, self.bias)
            return F.gelu(y) if self.gelu else y
        then: tuple[Any, ...] = ("gelu", [], "none") if self.gelu else ("none", [], "")
        output: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.laid, self.bias, *then)
        return output


def _laid(weight: Tensor) -> Tensor | None:
    """A weight in oneDNN's layout; None where this torch or device has no such layout. The operators are those of torch's own
    compiler."""
    try:
        laid: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight)
        torch.ops.mkldnn._linear_pointwise(weight.new_zeros(1, weight.shape[1]), laid, None, "none", [], "")
        return laid
    except (AttributeError, NotImplementedError, RuntimeError):
        return None


class Table(nn.Module):
    """Output projection of a LanguageHead, prepacked at its first call; every call must have the same word table."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.packed: PrepackedLinear | None = None

    def forward(self, x: Tensor, words: Tensor, bias: Tensor) -> Tensor:
        if self.packed is None:
            self.packed = PrepackedLinear(words, bias, self.dtype)
        return self.packed(x).float()


def _prepack(part: nn.Module, dtype: torch.dtype) -> None:
    for name, child in list(part.named_children()):
        if type(child) is nn.Linear:
            setattr(part, name, PrepackedLinear(child.weight, child.bias, dtype))
        elif type(child) is FeedForward and child.activation == "gelu" and type(child.up) is nn.Linear:
            _prepack(child, dtype)
            child.up.gelu = True
            setattr(part, name, nn.Sequential(child.up, child.down))
        else:
            _prepack(child, dtype)
            if isinstance(child, Attention) and dtype != torch.float32:  # once for query, key and value
                child.register_forward_pre_hook(lambda _, inputs: (inputs[0].to(dtype), *inputs[1:]))
