"""A frozen text tower: sentences -> pooled features, or the hidden states of their tokens.

Does not know: files of weights, pictures, sets of pairs.

n sentences, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pairloom.data.tokens import Tokens
from pairloom.runtime.threads import one_thread
from pairloom.towers.text_network import TextNetwork

BATCH = 16  # sentences of every pass, the last pass of a length padded, so that features depend on their own sentence alone


@dataclass(frozen=True)
class SentenceConfig:
    """How hidden states become the features of a sentence, as sentence-transformers' configs say.

    pooling: names out of "cls", "max", "mean", "sqrt" (the sum over the square root of the count), side by side in this
    order. normalise: to length 1. length: most tokens, those that frame a sentence included. lower: lower case first.
    prompt: stands before every sentence.
    """

    pooling: tuple[str, ...] = ("mean",)
    normalise: bool = False
    length: int = 512
    lower: bool = False
    prompt: str = ""


class TextTower:
    """A text encoder with published weights, for inference.

    name: of the folder or the published tower. width: of pooled features. length: most tokens. identity: SHA-256 of
    everything that features depend on: weights, tokenizer, pooling. checksum: SHA-256 of the file of weights alone.
    """

    def __init__(
        self, name: str, network: TextNetwork, tokens: Tokens, config: SentenceConfig, checksum: str, identity: str,
        device: str = "cpu",
    ) -> None:  # fmt: skip
        self.name, self.checksum, self.identity = name, checksum, identity
        self.vocabulary, self.config = tokens, config
        self.device = torch.device(device)
        self.network = network.requires_grad_(False).eval().to(self.device)
        self.length = config.length
        self.width = network.embed.words.embedding_dim * len(config.pooling)

    def __repr__(self) -> str:
        return f"TextTower({self.name!r}, width={self.width}, length={self.length})"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Pooled features [n D] of sentences; equal sentences are computed once."""
        distinct = sorted(set(texts))
        table = np.zeros((len(distinct), self.width), np.float32)
        for rows, states in self._passes(distinct):
            table[rows] = self._pool(states).cpu().numpy()
        place = {text: row for row, text in enumerate(distinct)}
        return table[[place[text] for text in texts]] if distinct else table

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Hidden states [n T D] of the tokens, on the CPU, and their mask [n T] (True = real), padded to the longest text."""
        passes = list(self._passes(texts))
        longest = max((states.shape[1] for _, states in passes), default=0)
        width = self.network.embed.words.embedding_dim
        hidden = torch.zeros(len(texts), longest, width)
        mask = torch.zeros(len(texts), longest, dtype=torch.bool)
        for rows, states in passes:
            hidden[rows, : states.shape[1]] = states.float().cpu()
            mask[rows, : states.shape[1]] = True
        return hidden, mask

    def _passes(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Numbers of texts of one length in tokens, BATCH at a time, and their hidden states."""
        ids = self.vocabulary.rows([self._framed(text) for text in texts], self.length)
        lengths = np.array([len(row) for row in ids])
        for length in np.unique(lengths):
            of_length = np.flatnonzero(lengths == length)
            for start in range(0, len(of_length), BATCH):
                rows = of_length[start : start + BATCH]
                full = np.concatenate([rows, np.repeat(rows[:1], BATCH - len(rows))])
                with one_thread(), torch.no_grad():
                    states = self.network(torch.tensor([ids[row] for row in full], device=self.device))
                yield rows, states[: len(rows)]

    def _framed(self, text: str) -> str:
        text = self.config.prompt + text
        return text.lower() if self.config.lower else text

    def _pool(self, states: Tensor) -> Tensor:
        """Features [B D] of hidden states [B T D] without padding."""
        parts = {
            "cls": lambda: states[:, 0],
            "max": lambda: states.amax(1),
            "mean": lambda: states.mean(1),
            "sqrt": lambda: states.sum(1) / states.shape[1] ** 0.5,
        }
        pooled = torch.cat([parts[kind]() for kind in self.config.pooling], 1).float()
        return F.normalize(pooled, dim=1) if self.config.normalise else pooled
