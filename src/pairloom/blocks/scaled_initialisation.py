"""Scaled initialisation of a transformer: the deeper the stack, the less each residual branch adds at first.

Does not know: embeddings, heads of tasks.
"""

from __future__ import annotations

from torch import nn

from pairloom.blocks.attention import Attention
from pairloom.blocks.feed import FeedForward
from pairloom.blocks.transformer import Stack


def initialise_scaled(stack: Stack) -> None:
    """Normal weights in proportion to width, and to depth where a map ends a residual branch (Radford et al., 2019)."""
    for part in stack.modules():
        if isinstance(part, Attention | FeedForward):
            first = part.query.in_features if isinstance(part, Attention) else part.up.in_features
            ends = part.out if isinstance(part, Attention) else part.down
            for linear in part.children():
                std = (first if isinstance(part, Attention) else 2 * first) ** -0.5
                if linear is ends:
                    std = (2 * first * len(stack.layers)) ** -0.5
                nn.init.normal_(linear.weight, std=std)
                nn.init.zeros_(linear.bias)
