"""Questions: each with every answer that people gave, weighted by how many gave it (Li et al., 2022, section 5.3).

A batch has the answers as `texts`, `image_of` the question of each, and `question` and `weights`.

Q questions, A answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy
import torch

from pairloom.data.batch import Texts
from pairloom.data.datasets._gather import gather, split
from pairloom.data.datasets._pictures import picture_column
from pairloom.data.feed import Feed
from pairloom.data.loader import Drawn, Loader, NumberColumn, TextTable
from pairloom.data.order import Rows
from pairloom.data.pair import Question, content_hash
from pairloom.data.records import Questions
from pairloom.data.region_set import RegionSet
from pairloom.data.tokens import Tokens

MARKS = re.compile(r'[.!"()*#:;~]')


def plain(question: str) -> str:
    """A question as the released code cleans it: lower case, without these marks."""
    return MARKS.sub("", question.lower()).rstrip()


class Dataset:
    """Dataset adapter (see `data/datasets`)."""

    def __init__(self, path: Path, folder: Path | None, regions: RegionSet | None = None) -> None:
        self.index, self.examples, self.shows = gather(
            path, folder, "questions", lambda one: "" if one.answers else "no answers", regions
        )
        self.count = len(self.examples)

    def words(self) -> Iterable[list[str]]:
        return ([plain(one.question), *one.weights] for one in self.examples)

    def split(self, share: float) -> tuple[Rows, Rows]:
        return split(self.index, self.shows, share)

    def loader(
        self, tokens: Tokens, config: Any, feed: Feed, rows: Rows, training: bool, workers: int
    ) -> Loader:
        """Each question once in every epoch, with all of its answers."""
        answers = AnswerColumn.of(tokens, self.examples, config.length, config.answer_length)
        columns = (
            picture_column(self.index, feed, training, answers.questions.sided, self.shows),
            answers,
            NumberColumn("image_ids", self.index.ids()[self.shows[:, 0]]),
        )
        return Loader(columns, answers.questions, rows, workers=workers)


class AnswerColumn:
    """`question`, its answers as `texts` and their `weights`. Of Q questions: their ids, the ids of the A answers to them, and
    what each answer weighs [A]."""

    chances = 0

    def __init__(self, questions: TextTable, answers: TextTable, weights: numpy.ndarray) -> None:
        self.questions, self.answers, self.weights = questions, answers, weights

    @classmethod
    def of(cls, tokens: Tokens, examples: list[Question], length: int, answer_length: int) -> AnswerColumn:
        questions = TextTable.of(tokens, ([plain(one.question)] for one in examples), length)
        answers = TextTable.of(tokens, (list(one.weights) for one in examples), answer_length)
        weights = [weight for one in examples for weight in one.weights.values()]
        return cls(questions, answers, numpy.asarray(weights, numpy.float32))

    def read(self, drawn: Drawn) -> tuple[Mapping[str, Any], Rows | None]:
        rows, first = drawn.here(drawn.rows), self.answers.first
        answers = numpy.concatenate([numpy.arange(first[row], first[row + 1]) for row in rows])
        question = Questions(Texts(*self.questions.take(drawn.here(drawn.texts), drawn.width)))
        owner = numpy.repeat(numpy.arange(len(rows)), first[rows + 1] - first[rows])
        return {
            "texts": Texts(*self.answers.take(answers)),
            "image_of": torch.from_numpy(owner),
            "question": question,
            "weights": torch.from_numpy(self.weights[answers]),
        }, None

    def identity(self) -> str:
        texts = (self.questions.identity(), self.answers.identity())
        return content_hash(*(one.encode() for one in texts), self.weights.tobytes())
