"""Best of N: several candidates of a text are drawn, and a judge chooses (Ramesh et al., 2021, arXiv 2102.12092, section 2.6).

Does not know: files, how a score comes about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

from PIL import Image

from pairloom.data.pair import seed_of
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.model.fingerprint import fingerprint
from pairloom.tasks.draw import Beginning, PictureStyle, Sampling, draw, to_image
from pairloom.tasks.judge import score_table
from pairloom.verbs import demand_way


@runtime_checkable
class PictureScorer(Protocol):
    """Judge of whether pictures and a text belong together. by: name of the score; identity: of all that it depends on."""

    @property
    def by(self) -> str: ...

    @property
    def identity(self) -> str: ...

    def scores(self, pictures: Any, texts: Any, image_of: Any = None) -> Any:
        """A score of each picture with the text beside it, higher is better."""
        ...


class ModelScorer:
    """A model as a judge, by one of its ways of scoring; the best without `by`. Mistake where it has none."""

    def __init__(self, model: Model, by: str | None = None) -> None:
        self.model, self.by = model, demand_way(model.system, by)

    @cached_property
    def identity(self) -> str:
        return fingerprint(self.model)

    def scores(self, pictures: Sequence[Image.Image], texts: Sequence[str], image_of: None = None) -> list[float]:  # fmt: skip
        every = list(dict.fromkeys(texts))
        table = score_table(self.model, pictures, every, [self.by])[self.by]
        return [float(row[every.index(text)]) for row, text in zip(table, texts)]


@dataclass(frozen=True)
class Candidate:
    """A picture that was drawn for a text: the seed of its noise and what the judge thinks of it (None: there is no judge)."""

    seed: int
    score: float | None = None


@dataclass(frozen=True)
class PictureRequest:
    """Picture number `number` of a text, with the seed of each of its candidates."""

    text: str
    number: int
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class BestPicture:
    """The best candidate of a request, and all of them in the order in which they were drawn."""

    image: Image.Image
    best: Candidate
    candidates: tuple[Candidate, ...]


def picture_requests(texts: Sequence[str], several: int, best: int, seed: int) -> list[PictureRequest]:
    """`several` pictures of each text with `best` candidates each. The candidates of a larger `best` begin with those of a smaller
    one, and are the pictures that `several` without it gives."""
    return [
        PictureRequest(text, at, tuple(seed_of(text, "draw", seed, at * best + n) for n in range(best)))
        for text in texts
        for at in range(several)
    ]


def draw_best(
    model: Model,
    wanted: Sequence[PictureRequest],
    options: Sampling = Sampling(),
    group: int = 4,
    begin: Beginning | PictureStyle | None = None,
    judge: PictureScorer | None = None,
) -> Iterator[BestPicture | Mistake]:
    """The best picture of each request, in their order, or the Mistake that a candidate of it was not of finite numbers."""
    texts = [one.text for one in wanted for _ in one.seeds]
    drawn = draw(model, texts, options, [seed for one in wanted for seed in one.seeds], group, begin)
    for one in wanted:
        pictures = [next(drawn) for _ in one.seeds]
        try:
            images = [to_image(picture) for picture in pictures]
        except Mistake as mistake:
            yield mistake
            continue
        yield _best(images, one, judge)


def _best(images: list[Image.Image], request: PictureRequest, judge: PictureScorer | None) -> BestPicture:
    if judge is None:
        candidates = tuple(map(Candidate, request.seeds))
        return BestPicture(images[0], candidates[0], candidates)
    scores = judge.scores(images, [request.text] * len(images))
    candidates = tuple(Candidate(seed, float(score)) for seed, score in zip(request.seeds, scores))
    at = max(range(len(images)), key=lambda number: float(scores[number]))
    return BestPicture(images[at], candidates[at], candidates)
