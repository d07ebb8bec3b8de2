"""Wording baseline: a bigram language model of the benchmark's other texts, without pictures and without labels.

Where it is above chance, false texts can be recognised by their wording (shuffled, swapped, odd), and a system that is no
better gives no evidence of using pictures. The texts of a case are left out of the counts for that case.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from pairloom.bench._case import Case
from pairloom.bench._judging import Shown

TRUST = 1.0  # count of a word at which the bigram weighs as much as the unigram


class Wording:
    """Bigram scorer: mean log-probability of a text's words, interpolated with unigrams (Jelinek & Mercer 1980)."""

    way = "word pairs, no model"

    def __init__(self, cases: Sequence[Case]) -> None:
        self.cost = {"texts": 0}
        self.beside: dict[str, set[str]] = {}
        for case in cases:
            for text in case.texts:
                self.beside.setdefault(text, set()).update(case.texts)
        self.words = {text: _words(text) for text in self.beside}
        self.pairs, self.firsts = _counts(self.words.values())

    def scores(
        self, images: Sequence[Shown], texts: Sequence[str], pairs: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        """Scores [M], the same for every picture."""
        self.cost["texts"] += len(texts)
        usual = np.array([self._usual(text) for text in texts])
        return usual[[text for _, text in pairs]]

    def _usual(self, text: str) -> float:
        """Mean log-probability of a text by the counts of all texts except those of its own cases."""
        words = self.words.get(text) or _words(text)
        own, own_firsts = _counts(self.words[other] for other in self.beside.get(text, ()))
        total = sum(self.firsts.values()) - sum(own_firsts.values())
        kinds = len(self.firsts) + 1  # a word that was never seen among them
        log_odds = 0.0
        for before, word in zip(words, words[1:]):
            alone = (self.firsts[word] - own_firsts[word] + 1) / (total + kinds)
            both = self.pairs[before, word] - own[before, word]
            log_odds += math.log((both + TRUST * alone) / (self.firsts[before] - own_firsts[before] + TRUST))
        return log_odds / (len(words) - 1)


def _words(text: str) -> list[str]:
    """Words in lower case, without punctuation, between two end marks."""
    kept = "".join(letter if letter.isalnum() else " " for letter in text.lower())
    return ["", *kept.split(), ""]


def _counts(texts: Iterable[list[str]]) -> tuple[Counter[tuple[str, str]], Counter[str]]:
    """Counts of bigrams, and of their first words; the end mark is the first word of a text."""
    pairs = Counter(pair for words in texts for pair in zip(words, words[1:]))
    firsts: Counter[str] = Counter()
    for (before, _), count in pairs.items():
        firsts[before] += count
    return pairs, firsts
