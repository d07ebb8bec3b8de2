"""Dialogs, a round at a time: the rounds before it, its question, and the right answer or a wrong one of its candidates.

A batch has each round twice, with the right answer and with a wrong one drawn anew each time; `image_of` is the round, and
`labels` 1 where the answer is right; `caption` is the picture's. Rounds are joined by [SEP]; where a dialog is longer than the system
reads, its oldest words are left out. Paper and released code say neither how a dialog is laid out nor how many wrong
answers there are to a right one: both are ours.

R rounds of all dialogs.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import torch

from pairloom.data.batch import Texts
from pairloom.data.datasets._gather import gather, split
from pairloom.data.index import DecodedImages
from pairloom.data.loader import Drawn, Loader, NumberColumn, PixelColumn, TextTable
from pairloom.data.order import Rows
from pairloom.data.pair import Dialog, Round, content_hash
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform


def spoken(tokens: Tokens, rounds: Sequence[Round]) -> list[list[int]]:
    """For each round the ids of all that was said before it, and of its question: without [CLS] and the last [SEP]."""
    words = [word for one in rounds for word in (one.question, one.answer)]
    ids = tokens.bare(words)
    before: list[int] = []
    rows = []
    for question, answer in zip(ids[::2], ids[1::2]):
        rows.append(before + question)
        before = [*before, *question, *answer, tokens.sep]
    return rows


def framed(tokens: Tokens, history: Sequence[int], answer: Sequence[int], length: int) -> list[int]:
    """[CLS] dialog answer [SEP], the oldest ids left out where there are more than `length`."""
    room = length - 2
    return [tokens.cls, *[*history, *answer[:room]][-room:], tokens.sep]


class Dataset:
    """Dataset adapter (see `data/datasets`)."""

    def __init__(self, path: Path, folder: Path | None) -> None:
        self.index, self.examples, self.pictures = gather(path, folder, "dialogs", _wrong)
        self.dialog = numpy.repeat(
            numpy.arange(len(self.examples)), [len(one.rounds) for one in self.examples]
        )
        self.shows = self.pictures[self.dialog]
        self.count = len(self.dialog)

    def words(self) -> Iterable[list[str]]:
        return (
            [one.caption, *(word for turn in one.rounds for word in (turn.question, turn.answer))]
            for one in self.examples
        )

    def split(self, share: float) -> tuple[Rows, Rows]:
        return split(self.index, self.shows, share)

    def loader(
        self, tokens: Tokens, config: Any, pixels: Transform, rows: Rows, training: bool, workers: int
    ) -> Loader:
        """Each round once in every epoch."""
        rounds = RoundColumn(tokens, self.examples, self.dialog, config)
        columns = (
            PixelColumn(DecodedImages(self.index, pixels, training), rounds.history.sided, self.shows),
            rounds,
            NumberColumn("image_ids", self.index.ids()[self.shows[:, 0]]),
        )
        return Loader(columns, rounds.history, rows, workers=workers)


def _wrong(dialog: Dialog) -> str:
    fit = all(one.right is not None and len(one.choices) > 1 for one in dialog.rounds)
    return "" if fit else "a round without candidates, or without the right one among them"


class RoundColumn:
    """Each round with its right answer and a wrong one: `texts`, `image_of`, `caption` and `labels`. What was said before the answer in each round [R], the candidates by number, and which is right [R]."""

    chances = 1

    def __init__(self, tokens: Tokens, dialogs: Sequence[Dialog], dialog: Rows, config: Any) -> None:
        self.tokens, self.length, self.dialog = tokens, config.length, dialog
        self.history = TextTable.of_rows(
            ([row] for one in dialogs for row in spoken(tokens, one.rounds)), tokens.pad
        )
        self.captions = TextTable.of(tokens, ([one.caption] for one in dialogs), config.caption_length)
        numbers: dict[str, int] = {}
        choices, first = array("i"), array("q", [0])
        for one in (turn for dialog_ in dialogs for turn in dialog_.rounds):
            choices.extend(numbers.setdefault(choice, len(numbers)) for choice in one.choices)
            first.append(len(choices))
        self.choices, self.first = numpy.asarray(choices, numpy.int32), numpy.asarray(first)
        self.right = numpy.array([turn.right for one in dialogs for turn in one.rounds], numpy.int64)
        self.answers = TextTable.of(tokens, ([answer] for answer in numbers), config.length)

    def read(self, drawn: Drawn) -> tuple[Mapping[str, Any], Rows | None]:
        rows, chance = drawn.here(drawn.rows), drawn.chance[drawn.span]
        right, many = self.right[rows], self.first[rows + 1] - self.first[rows]
        wrong = numpy.minimum((chance[:, 0].double().numpy() * (many - 1)).astype(numpy.int64), many - 2)
        wrong += wrong >= right  # any place but the right one
        chosen = self.choices[self.first[numpy.tile(rows, 2)] + numpy.concatenate([right, wrong])]
        table = TextTable.of_rows(
            ([self._row(row, answer)] for row, answer in zip([*rows.tolist()] * 2, chosen.tolist())),
            self.tokens.pad,
        )
        return {
            "texts": Texts(*table.take(numpy.arange(len(chosen)))),
            "image_of": torch.arange(len(rows)).repeat(2),
            "caption": Texts(*self.captions.take(self.dialog[rows])),
            "labels": (torch.arange(len(chosen)) < len(rows)).long(),
        }, None

    def _row(self, row: int, answer: int) -> list[int]:
        history, answers = self.history, self.answers
        words = answers.ids[answers.start[answer] + 1 : answers.start[answer + 1] - 1]
        before = history.ids[history.start[row] : history.start[row + 1]]
        return framed(self.tokens, before.tolist(), words.tolist(), self.length)

    def identity(self) -> str:
        return content_hash(self.choices.tobytes(), self.right.tobytes(), self.answers.ids.tobytes())
