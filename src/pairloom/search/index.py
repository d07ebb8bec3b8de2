"""Search index: queries by words, by pictures, by both, or for exact words in the texts.

The terms of a query become one vector. The cosines of words with pictures and of pictures with pictures have different
scales, so each term is divided by the standard deviation of such cosines in this collection; then all terms have the same
influence.

E shared embedding, N answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pairloom.data.cut import CutTexts, cut_texts
from pairloom.data.pair import Blob, content_hash
from pairloom.data.pixels import Unreadable, open_image
from pairloom.data.shards import read
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.search import filling
from pairloom.search.asking import Term, parse
from pairloom.search.cells import FILE as CELLS
from pairloom.search.cells import Cells
from pairloom.search.line import Background, Line, embed_texts
from pairloom.search.store import PairLocation, Store
from pairloom.search.vectors import best_of
from pairloom.tasks.judge import judge
from pairloom.verbs import able
from pairloom.weights import load

EVEN = 0.5  # from this P(match) on an answer is a good match


@dataclass(frozen=True)
class Found:
    """One answer to a query. score: cosine with the query (None for a query of exact words alone); match: log-odds of the
    match head, where it re-ranks; p: P(match), where the index has a line; file: of the picture, or the set with it."""

    row: int
    key: str
    name: str
    file: str
    texts: tuple[str, ...]
    score: float | None = None
    match: float | None = None
    p: float | None = None


@dataclass(frozen=True)
class SearchResults:
    """Answers to a query. good: whether any answer is a match; None where that is unknown, with the reason in `why`.
    pictures: number in the index. whole: False where indexing was interrupted, so that pictures are missing. cut: words of the query
    that are longer than the model reads."""

    query: str
    results: tuple[Found, ...]
    pictures: int
    whole: bool
    good: bool | None = None
    why: str = ""
    cut: CutTexts = CutTexts()

    def to_dict(self) -> dict[str, Any]:
        """The answers with what they say, for JSON; without their rows in the index."""
        results = [
            {name: value for name, value in asdict(one).items() if name != "row"} for one in self.results
        ]
        return {**asdict(self), "results": results}


class Index:
    """An open search index, until the end of its `with` block or until nothing refers to it. Mistake where there is no index,
    and for an empty or broken one."""

    def __init__(self, where: Path | str, model: Model | None = None, device: str = "cpu") -> None:
        self.store = Store.open(where)
        self._model, self._device = model, device
        self.pictures = len(self.store)
        if not self.pictures:
            raise Mistake(
                f"The index {where} is empty.",
                "No picture was ever embedded, or all were deleted.",
                "Index a set.",
            )
        self.vectors, self.dead = self.store.vectors(), self.store.free()
        self.background = Background(self.store, self.vectors)
        self.line = Line(**(self.store.fact("line") or {"why": "the index is not whole"}))

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    @cached_property
    def model(self) -> Model:
        """The model that the index was built with. Mistake where it is not there any more, or is another one."""
        model = self._model or self._load()
        filling.check_model(self.store, model)
        return model.eval()

    def _load(self) -> Model:
        model_name = self.store.fact("model", "")
        try:
            return load(model_name).to(self._device)
        except Mistake as mistake:
            do = "Give its place now: --model MODEL"
            raise Mistake(
                f"The model of this index is not at {model_name} any more.", mistake.what, do
            ) from mistake

    def search(self, words: str = "", top: int = 10, text: str = "", rerank: int = 0) -> SearchResults:
        """Search: the `top` best answers, best first; ties by name, then key.

        asked: "sunset - people + ./beach.jpg" (`asking.parse`). text: only pictures whose texts hold these words; without
        `asked`, ordered by how well they do. rerank: let the match head order this many of the best. Mistake where nothing
        is asked, where a picture cannot be read, or where the model cannot do it.
        """
        if top < 1 or rerank < 0:
            raise Mistake(
                "These numbers do not fit.",
                f"top is {top} and re-rank {rerank}; both count answers.",
                "Give 1 or more.",
            )
        if rerank and able(self.model.system, "match") is None:
            why = f"Its model, a {self.model.name}, has no match head."
            raise Mistake("This index cannot re-rank.", why, "Leave out --rerank.")
        only = self.store.saying(text) if text else None
        terms = parse(words) if words.strip() or not text else ()
        if not terms:
            assert only is not None
            return self._answer(text, self._results(only[:top]))
        query = self.query(terms)
        rows, scores = self._best(query, max(top, rerank), only)
        results = sorted(self._results(rows, scores), key=lambda one: (-(one.score or 0), one.name, one.key))[
            : max(top, rerank)
        ]
        why = self.line.why
        if len(terms) > 1 or not terms[0].words or terms[0].weight < 0:
            why = "only words by themselves can be told from what is not there"
        elif not why:
            mean, spread = self.background.spread(query)
            results = [replace(one, p=self.line(one.score or 0, mean, spread)) for one in results]
        if rerank:
            results = self._reranked(terms, results[:rerank]) + results[rerank:]
        return replace(self._answer(words, results[:top], why), cut=self._cut(terms))

    def _cut(self, terms: tuple[Term, ...]) -> CutTexts:
        """The words of a query that are longer than the model reads."""
        texts = [term.words for term in terms if term.words]
        return cut_texts(self.model.tokens, texts, self.model.config.length) if texts else CutTexts()

    def _answer(self, query: str, results: list[Found], why: str = "") -> SearchResults:
        likely = [one.p for one in results if one.p is not None]
        good = any(p >= EVEN for p in likely) if likely else None if results else False
        return SearchResults(query, tuple(results), self.pictures, self.store.fact("whole"), good, why)

    def query(self, terms: tuple[Term, ...]) -> Tensor:
        """The query vector: one unit vector [E] for all terms."""
        words = [term.words for term in terms if term.words]
        text_vectors = iter(embed_texts(self.model, words)) if words else iter(())
        parts = [next(text_vectors) if term.words else self._seen(term.picture) for term in terms]
        if len(terms) == 1 and terms[0].weight > 0:
            return parts[0]
        of_words = self.line.spread or self._spread([part for term, part in zip(terms, parts) if term.words])
        spreads = [of_words if term.words else self.background.pictures for term in terms]
        shares = [term.weight / spread for term, spread in zip(terms, spreads)]
        total = torch.stack([share * part for share, part in zip(shares, parts)]).sum(0)
        if float(total.norm()) < 1e-6 * max(map(abs, shares)):
            raise Mistake(
                "The terms cancel out.", "The same is added and subtracted.", "Leave one of them out."
            )
        return torch.nn.functional.normalize(total, dim=0)

    def _spread(self, queries: list[Tensor]) -> float:
        spreads = [self.background.spread(query)[1] for query in queries]
        return sum(spreads) / max(1, len(spreads))

    def _seen(self, picture: Path | None) -> Tensor:
        """The vector of a picture, from the index where it has the picture, so that no model is needed then."""
        assert picture is not None
        try:
            data = picture.read_bytes()
            row = self.store.row_of(content_hash(data))
            if row is not None:
                return self.vectors.fine[row].clone()
            pixels = filling.pixels_of(self.model, data)
        except (OSError, Unreadable) as error:
            raise Mistake(f"{picture} cannot be read.", str(error), "Give a picture file.") from error
        return filling.embed_pixels(self.model, pixels[None])[0]

    def _best(self, query: Tensor, count: int, only: Tensor | None) -> tuple[Tensor, Tensor]:
        if only is not None:
            return best_of(only, self.vectors.scores(only, query), count)
        return self.finder(query, count, self.dead)

    @cached_property
    def finder(self) -> Callable[[Tensor, int, Tensor], tuple[Tensor, Tensor]]:
        """The search function: of the inverted lists where they belong to these vectors, else of the exact scan."""
        held = self.store.fact("cells") or {}
        if held.get("changes") == self.store.fact("changes") and (self.store.where / CELLS).is_file():
            return Cells(self.store.where / CELLS, self.vectors, held["probes"]).top
        return self.vectors.top

    def _results(self, rows: Tensor, scores: Tensor | None = None) -> list[Found]:
        """The answers of these rows. A row that another process has removed meanwhile is left out."""
        results = []
        for at, row in enumerate(rows.tolist()):
            places = self.store.places(row)
            if not places:
                continue
            place = next((one for one in places if one.file is None or one.file.exists()), places[0])
            file = place.file if place.file and place.size is None and not place.first else None
            where = str(file or place.file or place.source)
            score = None if scores is None else float(scores[at])
            results.append(
                Found(row, self.store.key_of(row), place.name, where, tuple(self.store.texts(row)), score)
            )
        return results

    def bytes_of(self, result: Found) -> bytes | None:
        """The encoded bytes of an answer's picture; None where it is gone or has changed."""
        for place in self.store.places(result.row):
            for data in _bytes_at(place):
                if content_hash(data) == result.key:
                    return data
        return None

    def _reranked(self, terms: tuple[Term, ...], results: list[Found]) -> list[Found]:
        """Re-rank answers by the log-odds of the match head, summed over the words; unreadable pictures come last."""
        queries = [(term.weight, term.words) for term in terms if term.words]
        if not queries:
            raise Mistake(
                "Only words can be re-ranked.", "The match head reads texts.", "Leave out --rerank."
            )
        weights = torch.tensor([weight for weight, _ in queries], dtype=torch.float64)
        scored, unseen = [], []
        for one in results:
            image = self._image(one)
            if image is None:
                unseen.append(one)
                continue
            batch = self.model.batch([image], [words for _, words in queries], image_of=[0] * len(queries))
            logits = judge(self.model.system, batch, "match head")[0].double().cpu()
            scored.append(replace(one, match=round(float(logits @ weights), 5)))
        return sorted(scored, key=lambda one: (-(one.match or 0), one.name, one.key)) + unseen

    def _image(self, one: Found) -> Image.Image | None:
        data = self.bytes_of(one)
        try:
            return None if data is None else open_image(data)
        except Unreadable:
            return None


def _bytes_at(place: PairLocation) -> list[bytes]:
    """The encoded pictures at a location: one, or all of that name where only the shard is known."""
    try:
        if place.shard is None:
            return [Blob(place.file, place.first, place.size).read()]
        return [pair.image.read() for pair in read(place.shard) if pair.name == place.name]
    except (OSError, Mistake):
        return []
