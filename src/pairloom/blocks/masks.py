"""Attention masks: True = may be seen, broadcast to [B heads T S]."""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor


def padding(mask: Bool[Tensor, "B S"]) -> Bool[Tensor, "B 1 1 S"]:
    """Everybody sees every real position."""
    return mask[:, None, None]


def later(new: int, old: int, device: torch.device | None = None) -> Bool[Tensor, "1 1 T S"]:
    """Of `new` positions after `old` ones each sees all up to itself."""
    return torch.ones(new, old + new, dtype=torch.bool, device=device).tril(old)[None, None]


def causal(mask: Bool[Tensor, "B T"]) -> Bool[Tensor, "B 1 T T"]:
    """Position t sees the real positions up to t. Position 0 must be real: a row that sees nothing has no softmax."""
    length = mask.shape[1]
    past = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
    return mask[:, None, None] & past
