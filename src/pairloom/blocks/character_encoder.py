"""Encoder of texts that are read character by character.

B texts, T characters, E text embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class CharacterEncoder(nn.Module):
    """Character-level CNN-RNN (Reed et al., 2016, arXiv 1605.05395): three convolutions over one-hot characters, a GRU over
    their output (18 steps of 201 characters), its mean over time, a linear map.

    length: characters that are read; a shorter text is filled up with blanks, which are zeros, and so is `pad`, the number of every
    character outside the alphabet.
    """

    def __init__(
        self, vocabulary: int, length: int, widths: Sequence[int], embedding: int, pad: int = 0
    ) -> None:
        super().__init__()
        if ((length - 3) // 3 - 3) // 3 < 4:
            raise ValueError(f"three convolutions and two poolings leave nothing of {length} characters")
        self.vocabulary, self.length, self.pad = vocabulary, length, pad
        first, second, third = widths
        self.convolutions = nn.Sequential(
            nn.Conv1d(vocabulary, first, 4), nn.ReLU(), nn.MaxPool1d(3),
            nn.Conv1d(first, second, 4), nn.ReLU(), nn.MaxPool1d(3),
            nn.Conv1d(second, third, 4), nn.ReLU(),
        )  # fmt: skip
        self.recurrent = nn.GRU(third, third, batch_first=True)
        self.out = nn.Linear(third, embedding)

    def forward(self, ids: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B E"]:
        """Text embedding. mask: True = real; all else is read as blank. ValueError for a text of more than `length`
        characters."""
        mask = mask & (ids != self.pad)
        if ids.shape[1] > self.length:
            raise ValueError(
                f"a text of {ids.shape[1]} characters is longer than the {self.length} that are read"
            )
        characters = F.one_hot(ids, self.vocabulary).float() * mask[..., None]
        characters = F.pad(characters, (0, 0, 0, self.length - ids.shape[1]))
        states, _ = self.recurrent(self.convolutions(characters.transpose(1, 2)).transpose(1, 2))
        return self.out(states.mean(1))
