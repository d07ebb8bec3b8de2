"""Wording: a judge without pictures and without a model: how usual a text's words are, each after the one before it, among
the other texts of the benchmark.

It knows no label. Where it is above chance, false texts give themselves away by how they are made (shuffled, swapped, odd),
and a system that is no better has not been shown to see. Of a text's own cases it has read nothing.
Does not know: pictures, which text is right.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from pairloom.bench._case import Case
from pairloom.bench._judging import Shown

TRUST = 1.0  # how often a word must have been seen for what follows it to weigh as much as how usual that is anywhere


class Wording:
    """Mean log-probability of a text's words by word pairs, interpolated with single words (Jelinek & Mercer 1980)."""

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
        """[M], the same for every picture."""
        self.cost["texts"] += len(texts)
        usual = np.array([self._usual(text) for text in texts])
        return usual[[text for _, text in pairs]]

    def _usual(self, text: str) -> float:
        """What is known of all texts but those that stand beside this one in a case."""
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
    """Small letters, without punctuation, between two marks of an end."""
    kept = "".join(letter if letter.isalnum() else " " for letter in text.lower())
    return ["", *kept.split(), ""]


def _counts(texts: Iterable[list[str]]) -> tuple[Counter[tuple[str, str]], Counter[str]]:
    """Pairs of neighbours, and the first of each pair; an end counts where a text begins."""
    pairs = Counter(pair for words in texts for pair in zip(words, words[1:]))
    firsts: Counter[str] = Counter()
    for (before, _), count in pairs.items():
        firsts[before] += count
    return pairs, firsts
