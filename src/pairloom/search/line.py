"""Match threshold ("line") of a collection: from which score on is the best answer to a query a match? It is learnt from the
set's own texts when the set is indexed.

P(match) is fitted to two groups of scores: of texts with their own picture, and of texts with the best other picture after
all pictures with similar texts have been removed, which stands for a search for something that the collection does not
have. The score is the cosine, or the cosine standardised by the mean and standard deviation of the query's cosines over the
collection ("standing"), whichever separates the two groups better. The method and its limits: docs/search.md.

M pictures of the pool, Q queries, S pictures of the background, E shared embedding.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from pairloom.metrics.calibrate import auroc, mixture_posterior
from pairloom.model import Model
from pairloom.model.numbers import finite
from pairloom.search.store import Store
from pairloom.search.vectors import Vectors

BACKGROUND = 4096  # pictures for the mean and standard deviation of a query's cosines
POOL = 20_000  # pictures that the texts are compared with
QUERIES = 400
LEAST = 50  # queries that a line needs
AREA = 0.6  # the interval of the AUROC has to lie above this, as in cleaning; otherwise there is no line
LEFT = 20  # pictures that have to remain for a query
# share of a text's information (the sum of its words' log(pictures / pictures with the word)) from which on another picture
# with the same words may be a match
SHARED = 0.25
SAYING = 1.0  # least information of a text that is used as a query


@dataclass(frozen=True)
class Line:
    """Calibration of a collection's scores: score -> P(match), for queries half of which have a match.

    why: the reason where there is no calibration ("" where there is one). by: the kind of score. area: AUROC of own pictures
    over the best wrong ones. spread: mean standard deviation of a text's cosines over the collection (0: unknown).
    """

    why: str
    by: Literal["cosine", "standing"] = "cosine"
    offset: float = 0.0
    slope: float = 0.0
    centre: float = 0.0
    area: float = 0.5
    queries: int = 0
    spread: float = 0.0

    def __call__(self, cosine: float, mean: float, deviation: float) -> float | None:
        """P(match) of a cosine. mean, deviation: of the query's cosines over the collection. None without a calibration."""
        if self.why:
            return None
        score = cosine if self.by == "cosine" else (cosine - mean) / deviation
        return 1 / (1 + math.exp(-max(-500.0, min(500.0, self.offset + self.slope * (score - self.centre)))))


class Background:
    """Statistics of the cosines of a query, or of two pictures, in this collection."""

    def __init__(self, store: Store, vectors: Vectors) -> None:
        self.fine = vectors.fine[store.spread(BACKGROUND)]

    @cached_property
    def pictures(self) -> float:
        """Standard deviation of the cosines of two pictures; 1 where there are too few pictures."""
        some = self.fine[:512] if len(self.fine) <= 512 else self.fine[:: len(self.fine) // 512]
        above = torch.ones(len(some), len(some), dtype=torch.bool).triu(1)
        scores = (some @ some.T)[above].double()
        return max(float(scores.std()), 1e-6) if len(scores) > 1 else 1.0

    def spread(self, query: Tensor) -> tuple[float, float]:
        """Mean and standard deviation of the cosines with a query [E]; (0, 1) where there are too few pictures."""
        if len(self.fine) < 2:
            return 0.0, 1.0
        scores = self.fine.double() @ query.double()
        deviation = float(scores.std())
        return (float(scores.mean()), deviation) if deviation > 1e-9 else (0.0, 1.0)


def draw(store: Store, model: Model) -> dict[str, Any]:
    """Fit the line of an index, record it and return it. An unchanged index keeps its line."""
    state = [store.fact("changes"), len(store), store.sayings()]
    saved = store.fact("line")
    if saved and store.fact("line_of") == state:
        return dict(saved)
    numbers = asdict(_draw(store, model))
    store.record(line=numbers, line_of=state)
    return numbers


def _draw(store: Store, model: Model) -> Line:
    rows = store.spread(POOL)
    texts = {at: store.texts(row) for at, row in enumerate(rows.tolist())}
    holders = _holders(texts)
    says = {word: math.log(len(rows) / len(held)) for word, held in holders.items()}
    queries = [
        (at, lines[0])
        for at, lines in texts.items()
        if lines and sum(says[word] for word in words_of(lines[0])) >= SAYING
    ]
    if len(queries) > QUERIES:
        queries = [queries[at] for at in numpy.linspace(0, len(queries) - 1, QUERIES).round().astype(int)]
    vectors = store.vectors()
    pool, background = vectors.fine[rows], Background(store, vectors)
    samples: list[
        tuple[float, float, float, float]
    ] = []  # cosine: own, best wrong; mean, deviation over the collection
    spreads = []
    for (at, text), query in zip(queries, embed_texts(model, [text for _, text in queries])):
        mean, deviation = background.spread(query)
        spreads.append(deviation)
        shared = numpy.zeros(len(rows))
        for word in words_of(text):
            shared[holders[word]] += says[word]
        left = shared < SHARED * shared[at]
        if left.sum() >= LEFT:
            cosines = (pool @ query).numpy()
            rise = _rise(int(left.sum()), len(store)) * deviation
            samples.append((float(cosines[at]), float(cosines[left].max()) + rise, mean, deviation))
    line = _fit(numpy.array(samples).reshape(-1, 4))
    return replace(line, spread=float(numpy.mean(spreads)) if spreads else 0.0)


def _holders(texts: dict[int, list[str]]) -> dict[str, NDArray[numpy.int64]]:
    """Inverted index of the texts: word -> the pictures whose texts have it."""
    holders: dict[str, list[int]] = {}
    for at, lines in texts.items():
        for word in set().union(*map(words_of, lines)):
            holders.setdefault(word, []).append(at)
    return {word: numpy.array(held) for word, held in holders.items()}


def _rise(tried: int, all: int) -> float:
    """Difference between the expected maxima of `all` and of `tried` standard normals."""
    return math.sqrt(2 * math.log(max(all, 2))) - math.sqrt(2 * math.log(max(tried, 2)))


def _fit(rows: NDArray[numpy.float64]) -> Line:
    """Fit the calibration to the score that separates own from wrong pictures better. rows [Q 4]: cosine of the own and of
    the best wrong picture, mean and deviation."""
    if len(rows) < LEAST:
        why = f"only {len(rows)} texts of the set can be searched for as if they were not there; {LEAST} are needed"
        return Line(why, queries=len(rows))
    scores = {"cosine": rows[:, :2], "standing": (rows[:, :2] - rows[:, 2:3]) / rows[:, 3:]}
    by: Any = max(scores, key=lambda name: auroc(*scores[name].T))
    mixture = mixture_posterior(*scores[by].T)
    if mixture.area.low < AREA or mixture.bad > 0.9:
        why = f"the model hardly tells a text's own picture from the best of the wrong ones here (AUROC {mixture.area})"
        return Line(why, area=mixture.area.value, queries=len(rows))
    # the mixture is fitted with the bad share of the pairs as its prior; a search has a match with probability one half
    even = mixture.offset - math.log((1 - mixture.bad) / mixture.bad)
    return Line("", by, even, mixture.slope, mixture.centre, mixture.area.value, len(rows))


def words_of(text: str) -> set[str]:
    """The set of a text's words, in lower case."""
    return set(re.findall(r"\w+", text.casefold()))


@torch.no_grad()
def embed_texts(model: Model, texts: list[str], rows: int = 256) -> Tensor:
    """Embed texts: unit vectors [Q E] on the CPU."""
    if not texts:
        return torch.empty(0, int(model.config.embedding))
    parts = [
        model.system.embed_text(model.batch(texts=texts[at : at + rows])) for at in range(0, len(texts), rows)
    ]
    return torch.nn.functional.normalize(finite(torch.cat(parts).float().cpu(), "embeddings"), dim=-1)
