"""Who may see whom: boolean masks, True = may be seen, broadcast to [B heads T S]."""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor


def padding(keep: Bool[Tensor, "B S"]) -> Bool[Tensor, "B 1 1 S"]:
    """Everybody sees every real position."""
    return keep[:, None, None]


def later(new: int, old: int, device: torch.device | None = None) -> Bool[Tensor, "1 1 T S"]:
    """Of `new` positions after `old` ones each sees all up to itself."""
    return torch.ones(new, old + new, dtype=torch.bool, device=device).tril(old)[None, None]


def causal(keep: Bool[Tensor, "B T"]) -> Bool[Tensor, "B 1 T T"]:
    """Position t sees the real positions up to t. Position 0 must be real: a row that sees nothing has no softmax."""
    length = keep.shape[1]
    past = torch.ones(length, length, dtype=torch.bool, device=keep.device).tril()
    return keep[:, None, None] & past
