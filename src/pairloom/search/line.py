"""Line: from which score on is the best answer a match? Learnt from the set's own texts, when it is indexed.

Two groups of scores teach a curve: of texts with their own picture, and of the best picture that is left for a text when
every picture whose texts share more than a little of what it says is taken away, which is what a search for something
that the collection does not have comes to. A score is the cosine, or the cosine in spreads of that query's cosines over the collection
("standing"): whichever tells the two groups apart better. The method and its limits: docs/search.md.

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
from pairloom.search.store import Store
from pairloom.search.vectors import Vectors

BACKGROUND = 4096  # pictures that a query's spread is taken over
POOL = 20_000  # pictures that texts are tried on
QUERIES = 400
LEAST = 50  # queries that a line needs
AREA = 0.6  # its interval has to lie above this, as in cleaning: else nothing is said
LEFT = 20  # pictures that have to be left for a query
SHARED = 0.25  # of what a text says (the sum of its words' log(pictures / pictures with the word)): more is a match perhaps
SAYING = 1.0  # a text whose words sum to less says too little to search for


@dataclass(frozen=True)
class Line:
    """Score -> P(match), for a collection that has what is searched for as often as not.

    why: the reason where nothing can be said ("" where it can). by: what the score is. area: AUROC of own pictures over
    the best wrong ones. spread: mean standard deviation of a text's cosines over the collection (0: not known).
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
        """mean, deviation: of the query's cosines over the collection. None where nothing can be said."""
        if self.why:
            return None
        score = cosine if self.by == "cosine" else (cosine - mean) / deviation
        return 1 / (1 + math.exp(-max(-500.0, min(500.0, self.offset + self.slope * (score - self.centre)))))


class Background:
    """What the scores of any query are like in this collection."""

    def __init__(self, store: Store, vectors: Vectors) -> None:
        self.fine = vectors.fine[store.spread(BACKGROUND)]

    @cached_property
    def pictures(self) -> float:
        """Standard deviation of the cosines of two pictures; 1 where there are none to speak of."""
        some = self.fine[:512] if len(self.fine) <= 512 else self.fine[:: len(self.fine) // 512]
        above = torch.ones(len(some), len(some), dtype=torch.bool).triu(1)
        scores = (some @ some.T)[above].double()
        return max(float(scores.std()), 1e-6) if len(scores) > 1 else 1.0

    def spread(self, query: Tensor) -> tuple[float, float]:
        """Mean and standard deviation of the cosines with a query [E]; (0, 1) where there are none to speak of."""
        if len(self.fine) < 2:
            return 0.0, 1.0
        scores = self.fine.double() @ query.double()
        deviation = float(scores.std())
        return (float(scores.mean()), deviation) if deviation > 1e-9 else (0.0, 1.0)


def draw(store: Store, model: Model) -> dict[str, Any]:
    """Learn the line of an index as it is now, write it down and return it. Not done again where nothing has changed."""
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
    """Word -> the pictures whose texts have it."""
    holders: dict[str, list[int]] = {}
    for at, lines in texts.items():
        for word in set().union(*map(words_of, lines)):
            holders.setdefault(word, []).append(at)
    return {word: numpy.array(held) for word, held in holders.items()}


def _rise(tried: int, all: int) -> float:
    """How much higher, in spreads, the best of `all` is than the best of `tried`: the maximum of normals."""
    return math.sqrt(2 * math.log(max(all, 2))) - math.sqrt(2 * math.log(max(tried, 2)))


def _fit(rows: NDArray[numpy.float64]) -> Line:
    """The curve of the score that tells own from wrong better. told [Q 4]: cosine of both, mean and deviation."""
    if len(rows) < LEAST:
        why = f"only {len(rows)} texts of the set can be searched for as if they were not there; {LEAST} are needed"
        return Line(why, queries=len(rows))
    scores = {"cosine": rows[:, :2], "standing": (rows[:, :2] - rows[:, 2:3]) / rows[:, 3:]}
    by: Any = max(scores, key=lambda name: auroc(*scores[name].T))
    mixture = mixture_posterior(*scores[by].T)
    if mixture.area.low < AREA or mixture.bad > 0.9:
        why = f"the model hardly tells a text's own picture from the best of the wrong ones here (AUROC {mixture.area})"
        return Line(why, area=mixture.area.value, queries=len(rows))
    # the mixture speaks of pairs of which a share is bad; a search is as likely to have its match as not
    even = mixture.offset - math.log((1 - mixture.bad) / mixture.bad)
    return Line("", by, even, mixture.slope, mixture.centre, mixture.area.value, len(rows))


def words_of(text: str) -> set[str]:
    """Its words, each once, in lower case."""
    return set(re.findall(r"\w+", text.casefold()))


@torch.no_grad()
def embed_texts(model: Model, texts: list[str], rows: int = 256) -> Tensor:
    """Vectors [Q E] of length one, on the CPU."""
    if not texts:
        return torch.empty(0, int(model.config.embedding))
    parts = [
        model.system.embed_text(model.batch(texts=texts[at : at + rows])) for at in range(0, len(texts), rows)
    ]
    return torch.nn.functional.normalize(torch.cat(parts).float().cpu(), dim=-1)
