"""Regions that account for an answer, or for the score of a text: occlusion of regions, the test of it, and referring expressions.

A region counts by how far the score falls when it is hidden, as a cell of a picture does (`explain.py`). The region that a text refers
to is the one that it fits best when all others are hidden.

R regions, n choices of regions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pairloom import verbs
from pairloom.data.batch import Batch
from pairloom.data.detected import Detected
from pairloom.data.feed import RegionFeed
from pairloom.data.transform import Transform
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.model.pictures import no_pixels
from pairloom.tasks import answer as answering
from pairloom.tasks.explain import Faithfulness, deletion_test
from pairloom.tasks.judge import judge
from pairloom.tasks.reason import plain as plain_statement

ANSWER = "answer"  # what a question is explained by, in place of a score of pairs
TRUTH = "truth"  # and a statement

Score = Callable[[Batch], Tensor]  # of the regions of n rows [n]


@dataclass(frozen=True)
class RegionWeights:
    """What each region adds. weights [R]: the fall of the score when a region is hidden, or for a referring expression the score when
    all others are; boxes [R 4]: shares of the picture's sides. answer: to a question, else empty. by: the score; score: of all
    regions together."""

    text: str
    answer: str
    weights: Tensor
    boxes: Tensor
    by: str
    score: float


@torch.no_grad()
def explain_regions(model: Model, detected: Detected, text: str, by: str = "") -> RegionWeights:
    """How far the score of a text, or the log-probability of the answer to a question, falls when a region is hidden.

    by: a score of pairs, "answer" or "truth"; without it a text that ends with a question mark is explained by its answer where the
    model answers, and any other by the best score. Mistake where the model cannot do that, and for a picture of one region.
    """
    shown, by, answer, score = _prepared(model, detected, text, by)
    count = _demand_several(shown)
    every = torch.ones(1, count, dtype=torch.bool)
    scores = score(_showing(shown, torch.cat([every, ~torch.eye(count, dtype=torch.bool)])))
    boxes = shown.required("regions").boxes[0, 0].cpu()
    return RegionWeights(text, answer, scores[0] - scores[1:], boxes, by, float(scores[0]))


@torch.no_grad()
def refer(model: Model, detected: Detected, text: str, by: str = "") -> RegionWeights:
    """How well a text fits each region by itself: a referring expression without training. by: as in `explain_regions`."""
    shown, by, answer, score = _prepared(model, detected, text, by)
    count = shown.required("regions").mask.shape[2]
    kept = torch.cat([torch.ones(1, count, dtype=torch.bool), torch.eye(count, dtype=torch.bool)])
    scores = score(_showing(shown, kept))
    boxes = shown.required("regions").boxes[0, 0].cpu()
    return RegionWeights(text, answer, scores[1:], boxes, by, float(scores[0]))


@torch.no_grad()
def faithfulness(
    model: Model,
    detected: Detected,
    explanation: RegionWeights,
    shares: Sequence[float] = (0.1, 0.2, 0.3),
    times: int = 20,
    seed: int = 0,
) -> list[Faithfulness]:
    """Deletion test: hide the regions that count most, and `times` random choices of as many, and compare the scores."""
    shown, _, _, score = _prepared(model, detected, explanation.text, explanation.by)
    return deletion_test(
        explanation.weights, lambda hidden: score(_showing(shown, ~hidden)), shares, times, seed
    )


def demand_regions(model: Model) -> None:
    """Mistake where a model does not read regions."""
    if not isinstance(model.feed, (RegionFeed, Transform)):
        raise no_pixels(model)
    if not isinstance(model.feed, RegionFeed):
        raise Mistake(
            f"A {model.name} has no boxes.", "It reads pixels.", "Ask a model of regions (docs/regions.md)."
        )


def _prepared(model: Model, detected: Detected, text: str, by: str) -> tuple[Batch, str, str, Score]:
    """The picture with its regions, what is explained, the answer where that is it, and the score of rows of regions."""
    demand_regions(model)
    system, shown = model.system, model.batch([detected])
    can = {one.name for one in system.abilities}
    by = by or _default(system, can, text)
    if by == ANSWER and "choose" in can:
        answer, place = _chosen(model, shown, text)
        question = model.texts([answering.plain(text)])

        def chance(batch: Batch) -> Tensor:
            texts = question[[0] * len(batch.required("regions"))]
            return system.answer_logits(replace(batch, texts=texts)).log_softmax(1)[:, place].cpu()

        return shown, by, answer, chance
    if by == ANSWER:
        verbs.demand(system, "answer")
        return shown, by, *_written(model, detected, text)
    if by == TRUTH:
        verbs.demand(system, "reason")
        way, texts = "", model.texts([plain_statement(text)])
    else:
        way = by = verbs.demand_way(system, by)
        texts = model.texts([text])
    answering.demand_short("text", text, model.tokens, model.config.length)

    def score(batch: Batch) -> Tensor:
        rows = replace(batch, texts=texts[[0] * len(batch.required("regions"))])
        return judge(system, rows, way)[0].float().cpu() if way else system.match(rows).float().cpu()

    return shown, by, "", score


def _default(system: verbs.Declares, can: set[str], text: str) -> str:
    answers = bool(can & {"choose", "answer"})
    if answers and (text.rstrip().endswith("?") or not verbs.ways(system)):
        return ANSWER
    return TRUTH if "reason" in can else verbs.demand_way(system)


def _chosen(model: Model, shown: Batch, text: str) -> tuple[str, int]:
    """The best answer of the model's list, and its place."""
    answering.demand_short("question", text, model.tokens, model.config.length)
    batch = replace(shown, texts=model.texts([answering.plain(text)]))
    best = answering.choose_listed(model, batch)[0][0]
    return best.text, answering.listed_answers(model).index(best.text)


def _written(model: Model, detected: Detected, text: str) -> tuple[str, Score]:
    """The answer that the model writes, and the log-likelihood of its words."""
    answer = answering.answer(model, [detected], [text])[0][0].text
    question = answering.questions_batch(model, [detected], [text]).required("question")
    words = model.texts([answer])

    def likelihood(batch: Batch) -> Tensor:
        every = [0] * len(batch.required("regions"))
        rows = replace(batch, texts=words[every], question=replace(question, texts=question.texts[every]))
        return judge(model.system, rows, "likelihood")[0].float().cpu()

    return answer, likelihood


def _demand_several(shown: Batch) -> int:
    count = shown.required("regions").mask.shape[2]
    if count < 2:
        raise Mistake(
            "This picture has one region.",
            "Hiding it leaves nothing to compare with.",
            "Give a picture of several.",
        )
    return count


def _showing(shown: Batch, kept: Tensor) -> Batch:
    """Rows of one picture in which only these regions [n R] are shown."""
    regions = shown.required("regions")[[0] * len(kept)]
    return Batch(regions=replace(regions, mask=kept[:, None].to(regions.mask.device)))
