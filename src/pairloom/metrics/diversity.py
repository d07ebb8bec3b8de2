"""Diversity of captions: distinct n-grams, vocabulary, repetition. The words of a text are separated by spaces."""

from __future__ import annotations

from collections.abc import Sequence


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    split = text.split()
    return list(zip(*(split[start:] for start in range(n))))


def distinct(texts: Sequence[str], n: int = 2) -> float:
    """Distinct-n (Li et al. 2016): the share of different n-grams among all n-grams of all texts. It falls as a set grows."""
    grams = [gram for text in texts for gram in _grams(text, n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def vocabulary(texts: Sequence[str]) -> int:
    """Vocabulary size: the number of different words."""
    return len({word for text in texts for word in text.split()})


def repetition(texts: Sequence[str], n: int = 2) -> float:
    """Repetition, seq-rep-n (Welleck et al. 2020): mean share of a text's n-grams that are repeated in it, 0 for good
    captions."""
    shares = [1 - len(set(grams)) / len(grams) if (grams := _grams(text, n)) else 0.0 for text in texts]
    return sum(shares) / len(shares) if shares else 0.0
