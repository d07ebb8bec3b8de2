"""A causal language model that lets somebody work between its layers (any of transformers' library: library_language.py).

It reads embedded rows, after the rows of a past, and hands out logits, its last rows and the grown past. `between(index, x)`
is called before each layer and gives the rows that go on; without it the model is a plain language model.
Does not know: pictures, what is done between the layers, special tokens.

B rows, T positions, S positions of the past, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pairloom.blocks.attention import KeyValue
from pairloom.blocks.masks import later
from pairloom.blocks.scaled_initialisation import initialise_scaled
from pairloom.blocks.step import step_block
from pairloom.blocks.transformer import Stack, TransformerConfig

Between = Callable[[int, Tensor], Tensor]
Past = list[KeyValue]


def sinusoidal_positions(count: int, width: int) -> Float[Tensor, "T D"]:
    """Sines, then cosines, of a place at speeds from 1 down to a ten-thousandth (Vaswani et al., 2017, section 3.5)."""
    speeds = 10_000.0 ** -(torch.arange(0, width, 2) / width)
    angles = torch.arange(count)[:, None] * speeds
    return torch.cat([angles.sin(), angles.cos()], 1)[:, :width]


class LanguageModel(nn.Module):
    """A pre-norm causal transformer with learned positions and the word table as its head (Radford et al., 2019). Positions
    begin as sines: a token then learns to find its neighbour in hundreds of steps."""

    def __init__(self, shape: TransformerConfig, vocabulary: int, positions: int) -> None:
        super().__init__()
        self.width, self.depth, self.vocabulary, self.positions = (
            shape.width,
            shape.depth,
            vocabulary,
            positions,
        )
        self.words = nn.Embedding(vocabulary, shape.width)
        self.places = nn.Embedding(positions, shape.width)
        self.stack = Stack(shape)
        self.norm = nn.LayerNorm(shape.width, eps=shape.eps)
        initialise_scaled(self.stack)
        nn.init.normal_(self.words.weight, std=shape.width**-0.5)
        self.places.weight.data = sinusoidal_positions(positions, shape.width) * shape.width**-0.5

    def embed(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """The words alone: positions follow in `read`."""
        return self.words(tokens)

    def read(
        self,
        x: Float[Tensor, "B T D"],
        past: Sequence[KeyValue] | None = None,
        between: Between | None = None,
    ) -> tuple[Float[Tensor, "B T V"], Float[Tensor, "B T D"], Past]:
        """Raises ValueError past the last learned position."""
        old, new = past[0].keys.shape[2] if past else 0, x.shape[1]
        if old + new > self.positions:
            raise ValueError(f"a text of {old + new} tokens is longer than the {self.positions} positions")
        x = x + self.places.weight[old : old + new]
        mask = None if new == 1 else later(new, old, x.device)
        grown = []
        for index, layer in enumerate(self.stack.layers):
            x = between(index, x) if between else x
            x, row = step_block(layer, x, past[index] if past else None, mask=mask)
            grown.append(row)
        x = self.norm(x)
        return F.linear(x, self.words.weight), x, grown
