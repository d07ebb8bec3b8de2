"""Answers as classes: questions, each with a score for every answer of the model's list (VQA: min(1, n / 3), where n people gave it).

A batch has the questions as `texts` and the scores as `labels` [B A].

Q questions, A answers of a list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy
import torch

from pairloom.data.asked import open_examples
from pairloom.data.datasets._gather import gather, split
from pairloom.data.datasets._pictures import picture_column
from pairloom.data.datasets.questions import plain
from pairloom.data.feed import Feed
from pairloom.data.loader import Drawn, Loader, NumberColumn, TextColumn, TextTable
from pairloom.data.order import Rows
from pairloom.data.pair import Question, content_hash
from pairloom.data.region_set import RegionSet
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake

ENOUGH = 3  # people who must give an answer for it to be fully right; fewer where fewer answered
VQA_LIST = 3129  # answers of the list that VQA's systems share


def common_answers(path: Path, most: int = VQA_LIST) -> tuple[str, ...]:
    """The answers that were given most often in a set of questions, the commonest first, at most `most` of them. Mistake where
    there is none."""
    counts: Counter[str] = Counter()
    for one in open_examples(path, "questions"):
        assert isinstance(one, Question)
        counts.update(answer.strip().lower() for answer in one.answers)
    counts.pop("", None)
    if not counts:
        raise Mistake(f"No question of {path} has an answer.", "There is nothing to learn from.")
    return tuple(sorted(counts, key=lambda answer: (-counts[answer], answer))[:most])


def scored(question: Question, places: Mapping[str, int]) -> dict[int, float]:
    """The score of each answer of a list that somebody gave: min(1, n / 3), or n / the people where fewer than three answered.
    places: answer -> its place in the list."""
    counts = Counter(answer.strip().lower() for answer in question.answers)
    enough = min(ENOUGH, max(1, len(question.answers)))
    return {places[answer]: min(1.0, n / enough) for answer, n in counts.items() if answer in places}


class Dataset:
    """Dataset adapter (see `data/datasets`)."""

    def __init__(self, path: Path, folder: Path | None, regions: RegionSet | None = None) -> None:
        self.index, self.examples, self.shows = gather(
            path, folder, "questions", lambda one: "" if one.answers else "no answers", regions
        )
        self.count = len(self.examples)

    def words(self) -> Iterable[list[str]]:
        return ([plain(one.question)] for one in self.examples)

    def split(self, share: float) -> tuple[Rows, Rows]:
        return split(self.index, self.shows, share)

    def loader(
        self, tokens: Tokens, config: Any, feed: Feed, rows: Rows, training: bool, workers: int
    ) -> Loader:
        """Each question once in every epoch. Mistake where the model's list has no answer to any of them."""
        table = TextTable.of(tokens, ([plain(one.question)] for one in self.examples), config.length)
        scores = AnswerScores(self.examples, config.answers, config.answer_list)
        columns = (
            picture_column(self.index, feed, training, table.sided, self.shows),
            TextColumn(table),
            scores,
            NumberColumn("image_ids", self.index.ids()[self.shows[:, 0]]),
        )
        return Loader(columns, table, rows, workers=workers)


class AnswerScores:
    """`labels` [B A]. scores: of each question [Q], place in the list -> score; places without a score have 0."""

    chances = 0

    def __init__(self, examples: list[Question], answers: int, listed: tuple[str, ...]) -> None:
        places = {answer: place for place, answer in enumerate(listed)}
        self.answers, self.scores = answers, [scored(one, places) for one in examples]
        if not any(self.scores):
            raise Mistake(
                "The model's list has no answer to any question of this set.",
                f"It begins: {', '.join(listed[:3]) or 'nothing'}.",
                "Train with model.answer_list left out: it is then taken from the set.",
            )

    def read(self, drawn: Drawn) -> tuple[Mapping[str, Any], Rows | None]:
        rows = drawn.here(drawn.rows)
        labels = torch.zeros(len(rows), self.answers)
        for at, row in enumerate(rows):
            for place, score in self.scores[row].items():
                labels[at, place] = score
        return {"labels": labels}, None

    def identity(self) -> str:
        return content_hash(repr(self.scores).encode(), numpy.int64(self.answers).tobytes())
