"""Measures of painters: what a model has drawn for prompts, beside the true pictures of these, each number with interval and sizes.

Does not know: who has drawn the pictures, files.

M drawings, one for each prompt; N real pictures; D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from pairloom.bench._scene_reader import SceneReader, held_out_accuracy, load_reader
from pairloom.metrics import images as metrics
from pairloom.metrics.compare import Interval, bootstrap
from pairloom.model import Model
from pairloom.tasks import embed
from pairloom.tasks.best_of import ModelScorer
from pairloom.verbs import able
from pairloom.world import parse
from pairloom.world.claim import Claim, Stated, check

NAME = "drawn"  # of the benchmark, which has no cases and no files of its own
CLAIM = "how good what a model draws is: facts of the drawn world, distances, a judge's scores, copies"
FEWEST = 6  # pictures on either side from which neighbourhoods can be told
Pictures = Sequence[Image.Image]


@dataclass(frozen=True)
class PainterMeasure:
    """A number of a painter. by: the features, judge or reader that it rests on. drawn, real: how many pictures. chance: the same of
    drawings beside another prompt; best: of the true pictures; None where there is no such number. lower: whether less is better."""

    name: str
    by: str
    interval: Interval
    drawn: int
    real: int = 0
    chance: float | None = None
    best: float | None = None
    lower: bool = False


def fact_measures(reader: SceneReader, prompts: Sequence[str], drawn: Pictures, real: Pictures) -> list[PainterMeasure]:  # fmt: skip
    """Of the drawn world: share of prompts all of whose facts the reader sees in the drawing, and of the facts of each sort."""
    claims, by = [parse(prompt) for prompt in prompts], "scene reader"
    own, truth = _facts(reader, claims, drawn), _facts(reader, claims, real)
    others = _facts(reader, [*claims[1:], claims[0]], drawn)

    def whole(rows: list[tuple[Stated, ...]]) -> list[float]:
        return [float(bool(row) and all(fact.true for fact in row)) for row in rows]

    def share(rows: list[tuple[Stated, ...]], sort: str) -> float:
        return float(np.mean([fact.true for row in rows for fact in row if fact.sort == sort]))

    measures = [
        PainterMeasure(
            "all facts of the prompt", by, bootstrap(whole(own)), len(drawn), len(real),
            float(np.mean(whole(others))), float(np.mean(whole(truth))),
        )
    ]  # fmt: skip
    for sort in sorted({fact.sort for row in own for fact in row}):
        facts = [(at, fact.true) for at, row in enumerate(own) for fact in row if fact.sort == sort]
        interval = bootstrap([true for _, true in facts], [at for at, _ in facts])
        measures.append(
            PainterMeasure(
                f"facts: {sort}", by, interval, len(drawn), len(real), share(others, sort), share(truth, sort)
            )
        )
    return measures


def _facts(reader: SceneReader, claims: Sequence[Claim], images: Pictures) -> list[tuple[Stated, ...]]:
    return [check(claim, scene) for claim, scene in zip(claims, reader.read(images))]


def feature_measures(by: str, real: ArrayLike, drawn: ArrayLike) -> list[PainterMeasure]:
    """Fréchet distance and neighbourhoods of features [N D], [M D]; no neighbourhoods for fewer than FEWEST pictures."""
    a, b = np.asarray(real), np.asarray(drawn)
    note = partial(PainterMeasure, by=by, drawn=len(b), real=len(a))
    measures = [
        note("Fréchet distance", interval=metrics.resampled(metrics.frechet_distance, a, b), lower=True)
    ]
    if min(len(a), len(b)) >= FEWEST:
        for metric in (metrics.precision, metrics.recall, metrics.density, metrics.coverage):
            measures.append(note(metric.__name__, interval=bootstrap(metric(a, b))))
    return measures


def copy_measure(by: str, training: ArrayLike, drawn: ArrayLike, held_out: ArrayLike) -> PainterMeasure:
    """Copying of the training set: .5 where drawings are as new as held-out pictures, 1 where all are copies."""
    values = metrics.copying(training, drawn, held_out)
    real = len(np.asarray(training))
    return PainterMeasure("copying", by, bootstrap(values), len(values), real, chance=0.5, lower=True)


def diversity_measure(by: str, groups: Sequence[ArrayLike]) -> PainterMeasure:
    """Diversity of drawings of the same text."""
    values = metrics.diversity(groups)
    return PainterMeasure("diversity", by, bootstrap(values), sum(len(np.asarray(group)) for group in groups))


def inception_measure(by: str, shares: ArrayLike, real: ArrayLike) -> PainterMeasure:
    """Inception score of class probabilities [M K], and that of the true pictures."""
    interval = metrics.resampled(metrics.inception_score, shares)
    best = metrics.inception_score(real)
    return PainterMeasure("inception score", by, interval, len(np.asarray(shares)), len(np.asarray(real)), best=best)  # fmt: skip


def judge_measures(
    by: str, judge: Model, prompts: Sequence[str], drawn: Pictures, real: Pictures, references: Sequence[Sequence[str]]
) -> list[PainterMeasure]:  # fmt: skip
    """By a model that embeds: CLIPScore, RefCLIPScore where every prompt has references, CMMD. By another judge: its mean score."""
    others = [*prompts[1:], prompts[0]]
    if able(judge.system, "embed") is None:
        scorer = ModelScorer(judge)
        own, chance, best = (
            np.array(scorer.scores(shown, texts))
            for shown, texts in ((drawn, prompts), (drawn, others), (real, prompts))
        )
        name = f"score by {scorer.by}"
        return [PainterMeasure(name, by, bootstrap(own), len(own), len(real), float(chance.mean()), float(best.mean()))]  # fmt: skip
    words, wrong = embed.embed_texts(judge, prompts), embed.embed_texts(judge, others)
    own, truth = embed.embed_images(judge, drawn), embed.embed_images(judge, real)
    cosines = (own * words).sum(1)
    chance, best = (
        metrics.clip_scores((one * two).sum(1)).mean() for one, two in ((own, wrong), (truth, words))
    )
    measures = [
        PainterMeasure("CLIPScore", by, bootstrap(metrics.clip_scores(cosines)), len(drawn), len(real), float(chance), float(best))
    ]  # fmt: skip
    if references and all(references):
        texts = [embed.embed_texts(judge, several) @ row for several, row in zip(references, words)]
        scores = metrics.ref_clip_scores(cosines, texts)
        measures.append(PainterMeasure("RefCLIPScore", by, bootstrap(scores), len(drawn)))
    return [*measures, PainterMeasure("CMMD", by, metrics.resampled(metrics.cmmd, truth, own), len(drawn), len(real), lower=True)]  # fmt: skip


__all__ = [
    "CLAIM",
    "NAME",
    "PainterMeasure",
    "SceneReader",
    "copy_measure",
    "diversity_measure",
    "fact_measures",
    "feature_measures",
    "held_out_accuracy",
    "inception_measure",
    "judge_measures",
    "load_reader",
]
