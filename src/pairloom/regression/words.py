"""Word features of texts without published weights: TF-IDF, reduced by a singular value decomposition (latent semantic analysis).

Source: Deerwester et al. (1990). Does not know: pictures, files of a set.

n texts, V words of the vocabulary, E features.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pairloom.regression.axes import principal_axes

WORDS, FEATURES = 4000, 300  # largest vocabulary and number of features
# scripts without spaces are read by the character, everything else by the word
WORD = r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
_WORD = re.compile(WORD)


def words_of(text: str) -> list[str]:
    """The words of a text in lower case; a script without spaces gives its characters."""
    return _WORD.findall(text.lower())


def word_spans(text: str) -> list[tuple[str, int, int]]:
    """The words of a text in lower case, each with the span of the text that it stands in: text[start:stop]."""
    return [(match[0].lower(), match.start(), match.end()) for match in _WORD.finditer(text)]


@dataclass(frozen=True)
class WordFeatures:
    """Features [n E] of texts. vocabulary: V words; weights [V]: inverse document frequencies; axes [V E]."""

    vocabulary: tuple[str, ...]
    weights: NDArray[np.float64]
    axes: NDArray[np.float32]

    @cached_property
    def places(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.vocabulary)}

    @property
    def width(self) -> int:
        return self.axes.shape[1]

    @classmethod
    def learn(cls, texts: Sequence[str], seed: int = 0) -> WordFeatures:
        """Learn vocabulary, weights and axes from texts. A word of one text alone says nothing and is left out."""
        documents = Counter(word for text in texts for word in set(words_of(text)))
        ranked = sorted(documents.items(), key=lambda entry: (-entry[1], entry[0]))
        vocabulary = tuple(word for word, count in ranked[:WORDS] if count > 1)
        weights = np.array([math.log(len(texts) / documents[word]) for word in vocabulary])
        unreduced = cls(vocabulary, weights, np.zeros((len(vocabulary), 0), np.float32))

        def tables() -> Iterator[NDArray[np.float32]]:
            for start in range(0, len(texts), 1024):
                yield unreduced._table(texts[start : start + 1024])

        width = min(FEATURES, len(vocabulary) - 1, len(texts) - 1)
        axes = principal_axes(tables, len(vocabulary), width, seed) if width > 0 else unreduced.axes
        return cls(vocabulary, weights, axes)

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Features [n E] of texts; 0 for a text without a known word. Words are summed one by one, so that the features of a
        text do not depend on the others, to the last bit."""
        features = np.zeros((len(texts), self.width), np.float32)
        for row, text in enumerate(texts):
            for place, weight in self._weighted(text):
                features[row] += np.float32(weight) * self.axes[place]
        return features

    def _weighted(self, text: str) -> list[tuple[int, float]]:
        """TF-IDF of a text of length 1, as (place of a word, weight)."""
        counts = Counter(word for word in words_of(text) if word in self.places)
        weights = [
            (place := self.places[word], (1 + math.log(count)) * float(self.weights[place]))
            for word, count in counts.items()
        ]
        length = math.sqrt(sum(weight**2 for _, weight in weights))
        return [(place, weight / length) for place, weight in weights if length > 0]

    def _table(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """TF-IDF [n V] of texts, each of length 1."""
        table = np.zeros((len(texts), len(self.vocabulary)), np.float32)
        for row, text in enumerate(texts):
            for place, weight in self._weighted(text):
                table[row, place] = weight
        return table

    def tensors(self) -> dict[str, Tensor]:
        """The tensors, to be saved; the vocabulary is saved as JSON beside them."""
        return {"weights": torch.from_numpy(self.weights), "axes": torch.from_numpy(self.axes)}

    @property
    def json(self) -> str:
        return json.dumps(self.vocabulary, ensure_ascii=False)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], vocabulary: Sequence[str]) -> WordFeatures:
        """The inverse of `tensors` and `json`."""
        return cls(tuple(vocabulary), tensors["weights"].numpy(), tensors["axes"].numpy())
