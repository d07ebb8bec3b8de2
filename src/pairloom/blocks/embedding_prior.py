"""Priors over embeddings: what an embedding of a picture may be, given a text. One removes noise from it, one writes its codes.

Does not know: where the embeddings come from, schedules of noise, samplers.

B rows, L words of a text with padding, D width, C width of the words' rows, E embedding, K components, V codes of a component.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.blocks.masks import causal
from pairloom.blocks.scaled_initialisation import initialise_scaled
from pairloom.blocks.transformer import Stack, TransformerConfig


def timestep_waves(t: Int[Tensor, " B"], width: int) -> Float[Tensor, "B D"]:
    """Cosines, then sines, of a timestep at speeds from 1 down to a ten-thousandth (Ho et al., 2020)."""
    half = width // 2
    speeds = torch.exp(-math.log(10_000.0) * torch.arange(half, device=t.device) / half)
    angles = t.float()[:, None] * speeds
    return torch.cat([angles.cos(), angles.sin()], 1)


class DiffusionPrior(nn.Module):
    """Causal transformer that estimates an embedding from a noised one (Ramesh et al., 2022, section 2.2). It reads the words, the
    embedding of the text, the timestep, the noised embedding and a final query, whose row is the estimate.

    sizes: width, depth and heads. mean, deviation: with them an embedding of a picture is standardised before noise is added.
    """

    def __init__(self, sizes: tuple[int, int, int], embedding: int, text_width: int, length: int) -> None:
        super().__init__()
        shape = TransformerConfig(*sizes, "pre", 1e-5)
        width = shape.width
        self.words = nn.Linear(text_width, width)
        self.text, self.noisy = nn.Linear(embedding, width), nn.Linear(embedding, width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.query = nn.Parameter(0.01 * torch.randn(1, 1, width))
        self.positions = nn.Parameter(0.01 * torch.randn(1, length + 4, width))
        self.stack, self.norm = Stack(shape), nn.LayerNorm(width)
        self.out = nn.Linear(width, embedding)
        self.register_buffer("mean", torch.zeros(1, embedding))
        self.register_buffer("deviation", torch.ones(1, embedding))
        initialise_scaled(self.stack)

    def forward(
        self,
        noisy: Float[Tensor, "B E"],
        t: Int[Tensor, " B"],
        words: Float[Tensor, "B L C"],
        text: Float[Tensor, "B E"],
        mask: Bool[Tensor, "B L"],
    ) -> Float[Tensor, "B E"]:
        """The estimate of the clean embedding. mask: True = a real word."""
        width = self.query.shape[-1]
        rows = [self.text(text), self.time(timestep_waves(t, width).to(text.dtype)), self.noisy(noisy)]
        query = self.query.expand(len(text), -1, -1)
        x = torch.cat([self.words(words), torch.stack(rows, 1), query], 1) + self.positions
        x = self.stack(x, causal(F.pad(mask, (0, 4), value=True)))
        estimate: Tensor = self.out(self.norm(x[:, -1]))
        return estimate

    def standardise(self, embedding: Float[Tensor, "B E"]) -> Float[Tensor, "B E"]:
        """Embeddings as noise is added to them."""
        return (embedding - self.mean) / self.deviation

    def restore(self, estimate: Float[Tensor, "B E"]) -> Float[Tensor, "B E"]:
        """The inverse of `standardise`."""
        return estimate * self.deviation + self.mean
