"""Diversity: do captions say different things, or one thing many times? Takes texts whose words are separated by spaces.

Does not know whether what they say is right.
"""

from __future__ import annotations

from collections.abc import Sequence


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    split = text.split()
    return list(zip(*(split[start:] for start in range(n))))


def distinct(texts: Sequence[str], n: int = 2) -> float:
    """Distinct-n (Li et al. 2016): different n-grams over all n-grams of all texts; it falls as a set grows."""
    grams = [gram for text in texts for gram in _grams(text, n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def vocabulary(texts: Sequence[str]) -> int:
    """How many different words are used."""
    return len({word for text in texts for word in text.split()})


def repetition(texts: Sequence[str], n: int = 2) -> float:
    """Mean share of a text's n-grams that it has already said (seq-rep-n, Welleck et al. 2020): 0 for healthy captions."""
    shares = [1 - len(set(grams)) / len(grams) if (grams := _grams(text, n)) else 0.0 for text in texts]
    return sum(shares) / len(shares) if shares else 0.0
