"""Ranking of a corpus in both directions, by cosine or by match head, and its retrieval metrics.

Scores are computed a block of queries at a time: no table of all pairs is ever in memory. Does not know: models, files.

M pictures, K texts, D distinct texts, P pairs that the match head scored, E shared embedding, Q queries, C candidates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy
from numpy.typing import NDArray
from torch import Tensor

from pairloom.errors import Mistake, nearest
from pairloom.metrics.compare import Interval, bootstrap
from pairloom.metrics.rank import ranks

Rows = NDArray[numpy.int64]
Floats = NDArray[numpy.float64]
Direction = Literal["image to text", "text to image"]
DIRECTIONS: tuple[Direction, ...] = ("image to text", "text to image")

LOWEST = -100.0  # published: the score of pairs that the match head did not score
BELOW = 1e4  # ours: cosines are moved below all scores of the match head by this


@dataclass(frozen=True)
class RetrievalSettings:
    """Options of retrieval. k: candidates of a query that the match head re-ranks. published: the score is the raw class-1
    logit + the cosine, and -100 for all others, as in BLIP's released evaluation; otherwise the log-odds of the match, and
    below them the others by cosine."""

    k: int = 128
    published: bool = False


PROTOCOLS = {
    "odds": RetrievalSettings(),
    "blip": RetrievalSettings(256, True),
    "blip-flickr": RetrievalSettings(128, True),
}


def settings(protocol: str, k: int | None = None) -> RetrievalSettings:
    """The settings of a protocol by its name, with another k unless it is None. Mistake for an unknown name."""
    if protocol not in PROTOCOLS:
        raise Mistake(f"There is no protocol '{protocol}'.", "", nearest(protocol, PROTOCOLS))
    if k is not None and k < 1:
        raise Mistake(f"k = {k} re-ranks nothing.", "", "Give 1 or more.")
    return PROTOCOLS[protocol] if k is None else replace(PROTOCOLS[protocol], k=k)


@dataclass
class Retrieved:
    """Scores of a corpus, computed in blocks on demand; unreadable pictures and their texts are left out.

    rows [M] of the corpus; ids [M]: equal for pictures of the same bytes; owner [K]: picture of each text; distinct [K]:
    its string, of `strings` [D]. images [M E], texts [D E]: None where the system does not embed. codes [P], sorted:
    picture * D + string of each pair that was matched; values [P]. broken: name -> why it cannot be read.
    """

    settings: RetrievalSettings
    names: list[str]
    ids: Rows
    owner: Rows
    distinct: Rows
    strings: list[str]
    images: Tensor | None
    texts: Tensor | None
    codes: Rows = field(default_factory=lambda: numpy.zeros(0, numpy.int64))
    values: Floats = field(default_factory=lambda: numpy.zeros(0))
    broken: dict[str, str] = field(default_factory=dict)

    def blocks(
        self, direction: Direction, size: int = 256
    ) -> Iterator[tuple[slice, Floats, NDArray[numpy.bool_]]]:
        """Blocks of `size` queries: (queries, scores [Q C], right [Q C])."""
        back = direction == "text to image"
        queries = len(self.owner) if back else len(self.ids)
        for first in range(0, queries, size):
            part = slice(first, min(first + size, queries))
            sides, owners = (
                (self.ids[self.owner[part]], self.ids) if back else (self.ids[part], self.ids[self.owner])
            )
            yield part, self._scores(part, back), sides[:, None] == owners

    def _scores(self, part: slice, back: bool) -> Floats:
        cosines = self.cosines(part, back)
        if cosines is None:  # the match head scored all pairs
            table = self.values.reshape(len(self.ids), len(self.strings))[:, self.distinct]
            return table[:, part].T if back else table[part]
        if not len(self.codes):
            return cosines.double().numpy()
        best = cosines.topk(min(self.settings.k, cosines.shape[1]), 1).indices.numpy()
        values = self.values[numpy.searchsorted(self.codes, self._codes(part, best, back))]
        scores = cosines.double().numpy()
        if self.settings.published:
            values = values + numpy.take_along_axis(scores, best, 1)
            scores = numpy.full_like(scores, LOWEST)
        else:
            scores = scores - BELOW
        numpy.put_along_axis(scores, best, values, 1)
        return scores

    def cosines(self, part: slice, back: bool) -> Tensor | None:
        """Cosines [Q C] of some queries with all candidates."""
        if self.images is None or self.texts is None:
            return None
        if back:
            return self.texts[self.distinct[part]] @ self.images.T
        return (self.images[part] @ self.texts.T)[:, self.distinct]

    def text(self, at: int) -> str:
        """A text by its index in 0 .. K - 1."""
        return self.strings[self.distinct[at]]

    def _codes(self, part: slice, best: Rows, back: bool) -> Rows:
        rows = numpy.arange(part.start, part.stop)[:, None]
        if back:
            return best * len(self.strings) + self.distinct[rows]
        return rows * len(self.strings) + self.distinct[best]

    def wanted(self, size: int = 256) -> Rows:
        """Codes of the pairs that the match head is to score, sorted, each once: the best k of every query in either
        direction."""
        parts = []
        for back, queries in ((False, len(self.ids)), (True, len(self.owner))):
            for first in range(0, queries, size):
                part = slice(first, min(first + size, queries))
                cosines = self.cosines(part, back)
                assert cosines is not None
                best = cosines.topk(min(self.settings.k, cosines.shape[1]), 1).indices.numpy()
                parts.append(numpy.unique(self._codes(part, best, back)))
        return numpy.unique(numpy.concatenate(parts))


def worth(
    retrieved: Retrieved, at: tuple[int, ...] = (1, 5, 10), seed: int = 0
) -> dict[str, dict[str, Interval]]:
    """Retrieval metrics by direction: R@K, median rank and MRR, each with its bootstrap interval; the texts of a picture are
    resampled together."""
    intervals: dict[str, dict[str, Interval]] = {}
    for direction in DIRECTIONS:
        parts = [ranks(scores, right) for _, scores, right in retrieved.blocks(direction)]
        groups = retrieved.ids if direction == "image to text" else retrieved.ids[retrieved.owner]
        intervals[direction] = {
            f"R@{k}": bootstrap(numpy.concatenate([part.hits(k) for part in parts]), groups, seed=seed)
            for k in at
        }
        intervals[direction]["median"] = _median(
            numpy.concatenate([part.places() for part in parts]), groups, seed
        )
        intervals[direction]["MRR"] = bootstrap(
            numpy.concatenate([part.reciprocals() for part in parts]), groups, seed=seed
        )
    return intervals


def _median(places: Floats, groups: Rows, seed: int, resamples: int = 1000, level: float = 0.95) -> Interval:
    """Median rank with its percentile bootstrap interval over groups."""
    order = numpy.argsort(places, kind="stable")
    index = numpy.unique(groups, return_inverse=True)[1][order]
    random, many = numpy.random.default_rng(seed), int(index.max()) + 1
    drawn = numpy.empty(resamples)
    for at in range(resamples):
        weight = numpy.bincount(random.integers(many, size=many), minlength=many)[index].cumsum()
        middle = numpy.searchsorted(weight, [(weight[-1] - 1) // 2, weight[-1] // 2], "right")
        drawn[at] = places[order[middle]].mean()
    low, high = numpy.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(numpy.median(places)), float(low), float(high))


def rankings(retrieved: Retrieved, top: int) -> Iterator[list[dict[str, Any]]]:
    """Rankings: the `top` best of every query (at most k with a match head), a block of queries at a time.

    Rows: direction, query, place, candidate, score, right; queries and candidates by name and by text. Ties by the order
    of the set.
    """
    top = min(top, retrieved.settings.k) if len(retrieved.codes) and retrieved.images is not None else top
    for direction in DIRECTIONS:
        back = direction == "text to image"
        for part, scores, right in retrieved.blocks(direction):
            best = numpy.argsort(-scores, axis=1, kind="stable")[:, :top]
            best_scores = numpy.take_along_axis(scores, best, 1).tolist()
            fits = numpy.take_along_axis(right, best, 1).tolist()
            yield [
                {
                    "direction": direction,
                    "query": retrieved.text(query) if back else retrieved.names[query],
                    "place": place + 1,
                    "candidate": retrieved.names[at] if back else retrieved.text(at),
                    "score": best_scores[query - part.start][place],
                    "right": fits[query - part.start][place],
                }
                for query, order in enumerate(best.tolist(), part.start)
                for place, at in enumerate(order)
            ]
