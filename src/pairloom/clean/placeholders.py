"""Placeholders: one picture under many texts that have nothing to do with each other.

A picture may have many captions; these share words. A placeholder's texts share no more than any texts of the set do.
Does not know: pixels, files, scores.

n pairs of a set, W bits of a sketch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from pairloom.clean.duplicates import Groups

W = 64
MANY = 10  # different texts that a placeholder has at least
TIMES = 5  # and so many times the texts that nine in ten pictures of the set have
RELATED = 1.5  # words that texts share, relative to what any texts of the set share
_WORD = re.compile(r"[^\W\d_]{4,}|[\u0e00-\u0eff\u3040-\u9fff\uac00-\ud7af]+")


def word_sketch(texts: Iterable[str]) -> int:
    """The words of texts as W bits. Of scripts without blanks between words: their characters."""
    bits = 0
    for text in texts:
        for word in _WORD.findall(text[:300].lower()):
            for part in word if word[0] >= "\u0e00" else (word,):
                bits |= 1 << crc32(part.encode("utf-8", "replace")) % W
    return bits


def placeholders(groups: Groups, texts: NDArray[np.uint64], sketches: NDArray[np.uint64]) -> NDArray[np.int64]:  # fmt: skip
    """Pairs whose picture is a placeholder. texts: a hash of each pair's texts [n]; sketches: their words [n]."""
    group_of = groups.group_of
    rows = np.flatnonzero((group_of >= 0) & (sketches != 0))
    distinct = np.unique(np.stack([group_of[rows].astype(np.uint64), texts[rows]]), axis=1)[0].astype(
        np.int64
    )
    counts = np.bincount(distinct, minlength=len(groups))
    single = np.ones(int((group_of < 0).sum()), np.int64)
    usual = np.quantile(np.concatenate([counts, single]), 0.9) if len(group_of) else 0
    many = np.flatnonzero(counts >= max(MANY, TIMES * usual))
    unrelated = np.zeros(len(counts) + 1, bool)  # the last for -1
    expected = _shared(_bit_shares(sketches[sketches != 0])) if len(many) else 0.0
    for group in many:
        _, first = np.unique(texts[members := rows[group_of[rows] == group]], return_index=True)
        shares = _bits(sketches[members[first]])
        count = len(shares)
        pairs = (shares.sum(axis=0) ** 2 - shares.sum(axis=0)).sum() / (count * (count - 1))
        unrelated[group] = pairs < RELATED * expected
    return np.flatnonzero(unrelated[group_of])


def _bits(sketches: NDArray[np.uint64]) -> NDArray[np.float64]:
    """The bits of sketches [n W], as 0 and 1."""
    return np.unpackbits(sketches.view(np.uint8).reshape(-1, 8), axis=1).astype(np.float64)


def _bit_shares(sketches: NDArray[np.uint64]) -> NDArray[np.float64]:
    """The share of the sketches in which each bit is set [W], with one byte of memory a sketch: as `_bits` and its mean give it."""
    return np.array([
        (sketches.view(np.uint8).reshape(-1, 8)[:, byte] >> (7 - bit) & 1).mean() for byte in range(8) for bit in range(8)
    ])  # fmt: skip


def _shared(shares: NDArray[np.float64]) -> float:
    """Bits that two texts share, on average, where each bit is set in a share of the texts."""
    return float((shares**2).sum())
