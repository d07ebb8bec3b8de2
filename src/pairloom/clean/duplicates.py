"""Copies of pictures in a set: search of similar hashes, and the groups of pairs that show one picture.

Does not know: how a hash is computed, texts, scores, files.

n pairs of a set, in its order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

KINDS = ("", "same file", "near", "turned")  # how a pair's picture is a copy of the one that its group keeps


@dataclass(frozen=True)
class Groups:
    """Groups of pairs whose pictures are copies of each other: six bytes per pair.

    group_of: int32 [n], the group of each pair, numbered by their first pairs; -1 where its picture has no copy.
    best: bool [n], the pair of each group whose picture is the best one; True where there is no copy.
    kind: uint8 [n], number in KINDS of how the picture is a copy of the one that its group keeps; 0 of that one itself.
    """

    group_of: NDArray[np.int32]
    best: NDArray[np.bool_]
    kind: NDArray[np.uint8]

    def __len__(self) -> int:
        """Number of groups."""
        return int(self.group_of.max(initial=-1)) + 1


def group_copies(shards: Sequence[Any]) -> Groups:
    """Groups of the copies in a set, from the facts of its shards (`audit.ShardFacts`)."""
    images, looks = (
        np.concatenate([getattr(facts, name) for facts in shards] or [np.zeros(0, np.uint64)])
        for name in ("images", "looks")
    )
    order = np.argsort(images, kind="stable")
    same = (images[order[1:]] == images[order[:-1]]) & (images[order[1:]] != 0)
    links = [(order[:-1][same], order[1:][same]), *_near_pairs(looks)]
    first = components(len(images), *(np.concatenate(side) for side in zip(*links)))
    copied = np.bincount(first, minlength=len(first))[first] > 1
    group_of = np.full(len(first), -1, np.int32)
    group_of[copied] = np.unique(first[copied], return_inverse=True)[1]
    best = first == np.arange(len(first))
    kind = np.where(best, 0, np.where(images == images[first], 1, 2)).astype(np.uint8)
    return Groups(group_of, best, kind)


def components(count: int, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Connected components of the links between `count` rows: the first row of each row's component [count]."""
    first = np.arange(count)
    while True:
        low = np.minimum(first[one], first[other])
        if (first[one] == low).all() and (first[other] == low).all():
            return first
        for side in (one, other):
            np.minimum.at(first, first[side], low)
        while (first[first] != first).any():
            first = first[first]


def near_pairs(looks: NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    """Pairs of rows that are near duplicates of each other; a group of many is linked by some of its pairs."""
    for one, other in _near_pairs(looks):
        yield from zip(one.tolist(), other.tolist())


def _near_pairs(
    looks: NDArray[np.uint64], bits: int = 2
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows of pairs whose hashes differ in at most `bits` bits. Two such hashes agree on one of bits + 1 bands (pigeonhole
    principle); within a band each is compared with its next eight in order of the whole hash."""
    for shift, width in ((0, 22), (22, 21), (43, 21)):
        band = (looks >> np.uint64(shift)) & np.uint64((1 << width) - 1)
        order = np.lexsort((looks, band))
        for step in range(1, 9):
            a, b = order[:-step], order[step:]
            same = (band[a] == band[b]) & (looks[a] != 0) & (looks[b] != 0)
            close = same & (np.bitwise_count(looks[a] ^ looks[b]) <= bits)
            yield a[close], b[close]
