"""Norms inside attention and feed-forward, before their output maps ("sub-layer norm", Wang et al., 2022, Magneto).

Does not know: what the layers are of.
"""

from __future__ import annotations

import math

from torch import nn

from pairloom.blocks.transformer import Stack, initialise


def add_sub_norms(stack: Stack, below: int = 0) -> None:
    """Put a norm before each output map of a new stack, and initialise it anew: the output maps begin the smaller the deeper the layer,
    by 1 / sqrt(2 * layer). below: layers under this stack."""
    initialise(stack)
    for depth, layer in enumerate(stack.layers, below + 1):
        for parts, name in ((layer.attend, "out"), (layer.feed, "down")):
            for residual in parts:
                linear = getattr(residual.fn, name)
                linear.weight.data /= math.sqrt(2 * depth)
                setattr(residual.fn, name, nn.Sequential(nn.LayerNorm(linear.in_features, eps=1e-5), linear))
