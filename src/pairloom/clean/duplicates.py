"""Copies of pictures in a set: the search of similar hashes, and the groups of pairs that show one picture.

Candidates are the pairs of hashes that differ in at most BITS bits, of whole pictures, of their turns, of their crops, and of
what is left of both without a caption bar; a candidate is a copy if the frequencies agree too. Time grows with the pictures and
with the pairs that share two bands of their hash.

Does not know: pixels, texts, scores, files.

n pairs of a set, in its order.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairloom.clean import perceptual_hash as phash
from pairloom.clean.perceptual_hash import Floats
from pairloom.clean.shard_facts import ShardFacts, joined_column

Rows = NDArray[np.int64]
Descriptors = NDArray[np.int8]
View = Callable[[Descriptors], Floats]  # frequencies of a turn or of a region, from descriptors

BITS = 5  # bits in which the hashes of copies may differ
# Bands of a hash: of seven, five wrong bits leave two without an error (pigeonhole principle), which are looked up together.
BANDS = tuple((9 * band, 9) for band in range(7))
BUCKET = 1000  # rows of equal bands that a row is compared with, at most
# Share of the sharpness of the sharpest copy that one has which is not blurred: copies of other qualities, formats, brightness and
# turns have .85 to 1.17 of it, those blurred by a pixel or enlarged twofold up to .83.
SHARP = 0.84
CHUNK = 8192  # rows that are looked up or verified at a time
MIRROR = (False, True, False)  # the turn that crops of mirrored pictures are looked up with
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


def group_copies(shards: Sequence[ShardFacts]) -> Groups:
    """Groups of the copies in a set, from the facts of its shards ."""
    images, quality = (joined_column(shards, name) for name in ("images", "quality"))
    descriptors = _all_descriptors(shards)
    first = first_copies(descriptors, images)
    count = len(first)
    copied = np.bincount(first, minlength=count)[first] > 1
    group_of = np.full(count, -1, np.int32)
    group_of[copied] = np.unique(first[copied], return_inverse=True)[1]
    rows = np.flatnonzero(copied)
    order = rows[
        np.lexsort((rows, ~_better(quality[rows], first[rows]), first[rows]))
    ]  # the best of each group first
    leads = np.flatnonzero(np.diff(first[order], prepend=-1))
    kept = np.repeat(order[leads], np.diff(leads, append=len(order)))  # of the group of each of the order
    best, kind = np.ones(count, bool), np.zeros(count, np.uint8)
    best[order] = order == kept
    turned = _is_turned(descriptors, order, kept)
    kind[order] = np.where(images[order] == images[kept], 1, np.where(turned, 3, 2)) * ~best[order]
    return Groups(group_of, best, kind)


def quality(pixels: int, sharpness: int, size: int) -> int:
    """Quality of a picture as one number, which sorts by pixels, then sharpness of the thumbnail, then twofold bytes of the file."""
    return pixels << 32 | sharpness << 8 | size.bit_length()


def pixels_of(qualities: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The pixels in qualities [n]."""
    return (qualities >> np.uint64(32)).astype(np.int64)


def _better(qualities: NDArray[np.uint64], groups: Rows) -> NDArray[np.uint64]:
    """Qualities [n] in which a picture is sharp (1) or not (0), by the sharpest of the largest of its group, so that bytes decide among
    sharp ones."""
    _, of = np.unique(groups, return_inverse=True)
    largest = np.zeros(int(of.max(initial=-1)) + 1, np.uint64)
    np.maximum.at(largest, of, qualities)
    one, most = (
        (values >> np.uint64(8) & np.uint64(0xFFFFFF)).astype(np.int64) for values in (qualities, largest[of])
    )
    sharp = (one >= SHARP * most).astype(np.uint64)
    return qualities & ~np.uint64(0xFFFFFF00) | sharp << np.uint64(8)


def _all_descriptors(shards: Sequence[ShardFacts]) -> Descriptors:
    """The descriptors of all pictures, in a memory map of their own."""
    starts = np.cumsum([0, *(facts.pairs for facts in shards)])
    descriptors = mapped((int(starts[-1]), phash.SIZE), np.int8)
    for facts, start, stop in zip(shards, starts, starts[1:]):
        descriptors[start:stop] = facts.column("descriptors")
    return descriptors


def mapped(shape: tuple[int, ...], kind: type[np.generic]) -> NDArray[Any]:
    """An array of zeros in a memory map of its own, which goes back to the system with it: the heap keeps what large arrays were in."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    return np.frombuffer(mmap.mmap(-1, max(size, 1)), kind, int(np.prod(shape))).reshape(shape)


def _is_turned(descriptors: Descriptors, one: Rows, other: Rows) -> NDArray[np.bool_]:
    """Whether pictures are alike only after one of the turns, or more so, row by row."""
    turned = np.zeros(len(one), bool)
    for at in range(0, len(one), CHUNK):
        a, b = (phash.frequencies(descriptors[side[at : at + CHUNK]]) for side in (one, other))
        upright, *turns = (phash.likeness(phash.turned(a, turn), b) for turn in phash.TURNS)
        turned[at : at + CHUNK] = (upright < phash.LIKE) & (np.max(turns, axis=0) > upright)
    return turned


def leaks(shards: Sequence[ShardFacts], others: Sequence[ShardFacts]) -> NDArray[np.int64]:
    """Pairs of a set whose pictures have a copy in another set."""
    images, descriptors = joined_column([*others, *shards], "images"), _all_descriptors([*others, *shards])
    count = sum(facts.pairs for facts in others)
    return np.flatnonzero(first_copies(descriptors, images)[count:] < count)


def first_copies(descriptors: Descriptors, images: NDArray[np.uint64] | None = None) -> Rows:
    """The first of the copies of each row's picture [n], itself where there is none. images: hashes of the files, 0 for none;
    the same files are copies."""
    links = [] if images is None else [_equal(images, np.argsort(images, kind="stable"))]
    whole = _hashes(descriptors, phash.frequencies)
    one, other = _equal(
        whole, np.lexsort((*descriptors.T[-2:], whole))
    )  # so that few of equal hash are searched
    links.append(_verified(descriptors, phash.frequencies, phash.frequencies, one, other))
    first = components(len(whole), *_both(links))
    for views, base in _searches():
        rows = np.flatnonzero((first == np.arange(len(first))) & (whole != 0))
        links += _similar(descriptors, rows, views, base)
        first = components(len(whole), *_both(links))
    return first


def _equal(values: NDArray[np.uint64], order: Rows) -> tuple[Rows, Rows]:
    """Neighbours in an order that have the same value, 0 excepted."""
    one, other = order[:-1], order[1:]
    same = (values[one] == values[other]) & (values[one] != 0)
    return one[same], other[same]


def _searches() -> Iterator[tuple[list[View], View]]:
    """Views that are looked up, and the one that they are looked up among; the most likely ones first."""
    yield [phash.frequencies], phash.frequencies
    for region in phash.WITHOUT_BAR:
        without = partial(phash.frequencies, region=region)
        yield [without], without
    crops = [partial(phash.frequencies, region=region) for region in phash.CROPS]
    mirrored = [partial(_turned, turn=MIRROR, region=region) for region in phash.CROPS]
    turns = [partial(_turned, turn=turn) for turn in phash.TURNS[1:]]
    yield [*crops, *turns, *mirrored], phash.frequencies


def _turned(descriptors: Descriptors, turn: tuple[bool, bool, bool], region: phash.Region = phash.WHOLE) -> Floats:  # fmt: skip
    return phash.turned(phash.frequencies(descriptors, region), turn)


def _similar(descriptors: Descriptors, rows: Rows, views: list[View], base: View) -> Iterator[tuple[Rows, Rows]]:  # fmt: skip
    """Those of some rows whose pictures, in one of the views, are copies of the base of others of them."""
    index = HashIndex(_hashes(descriptors, base, rows))
    for start in range(0, len(rows), CHUNK):
        part = descriptors[rows[start : start + CHUNK]]
        for view in views:
            one, other = index.near(phash.hashes(view(part)))
            one += start
            apart = one != other
            yield _verified(descriptors, view, base, rows[one[apart]], rows[other[apart]])


def _hashes(descriptors: Descriptors, view: View, rows: Rows | None = None) -> NDArray[np.uint64]:
    """Hashes [n] of a view of all pictures, or of some rows."""
    chunks = [
        slice(start, start + CHUNK) for start in range(0, len(descriptors if rows is None else rows), CHUNK)
    ]
    parts = [phash.hashes(view(descriptors[chunk if rows is None else rows[chunk]])) for chunk in chunks]
    return np.concatenate([np.zeros(0, np.uint64), *parts])


def _verified(descriptors: Descriptors, view: View, base: View, one: Rows, other: Rows) -> tuple[Rows, Rows]:
    """Those of the candidates whose frequencies and colours agree too."""
    true = np.zeros(len(one), bool)
    for at in range(0, len(one), CHUNK):
        a, b = descriptors[one[at : at + CHUNK]], descriptors[other[at : at + CHUNK]]
        true[at : at + CHUNK] = phash.same_colour(a, b) & phash.alike(view(a), base(b))
    return one[true], other[true]


class HashIndex:
    """Multi-index of hashes: all within BITS bits of another, by the bands in which they agree."""

    def __init__(self, hashes: NDArray[np.uint64]) -> None:
        self.hashes = hashes
        has = np.flatnonzero(hashes)
        self.mask = (1 << min(18, len(has).bit_length())) - 1  # of a key: few rows need few buckets
        pairs = list(combinations(BANDS, 2))
        orders, starts = (mapped((len(pairs), size), np.int32) for size in (len(has), self.mask + 2))
        for at, pair in enumerate(pairs):
            keys = self._keys(hashes[has], pair)
            np.cumsum(np.bincount(keys, minlength=self.mask + 1), out=starts[at, 1:])
            orders[at] = has[np.argsort(keys, kind="stable")]
        self.tables = list(zip(pairs, orders, starts))

    def near(self, queries: NDArray[np.uint64]) -> tuple[Rows, Rows]:
        """(query, row) of all pairs within BITS bits, each once. Of more than BUCKET rows with equal bands the first are seen."""
        pairs = []
        for bands, order, starts in self.tables:
            keys = self._keys(queries, bands)
            left, counts = starts[keys], np.minimum(starts[keys + 1] - starts[keys], BUCKET)
            counts[queries == 0] = 0
            asking = np.arange(len(queries))
            for step in range(int(counts.max(initial=0))):
                asking = asking[counts[asking] > step]
                rows = order[left[asking] + step]
                close = np.bitwise_count(queries[asking] ^ self.hashes[rows]) <= BITS
                pairs.append(asking[close] * len(self.hashes) + rows[close])
        both = np.unique(np.concatenate(pairs or [np.zeros(0, np.int64)]))
        return both // max(len(self.hashes), 1), both % max(len(self.hashes), 1)

    def _keys(self, hashes: NDArray[np.uint64], bands: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
        """The bits of some bands, as one number each, of which as many as the mask has."""
        key = np.zeros(len(hashes), np.int64)
        for shift, width in bands:
            key = key << width | (hashes >> np.uint64(shift)).astype(np.int64) & ((1 << width) - 1)
        return key & self.mask


def _both(links: list[tuple[Rows, Rows]]) -> tuple[Rows, Rows]:
    return np.concatenate([one for one, _ in links]), np.concatenate([other for _, other in links])


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
