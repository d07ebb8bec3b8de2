"""Visual question answering, by writing an answer or by choosing from a list. Requires `start` and `step`, or `answer_logits` of a
system that has a list of its own.

Choosing is an exact branch-and-bound search over a tree of the answers' tokens: a prefix that several answers share is read
once. The score of an answer is minus the sum of its tokens' training losses (with label smoothing, as for published
numbers). Every token has a positive loss, so a prefix whose score is already below the best complete answer is dropped.

Q questions, I pictures, R rows (prefixes of answers), V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from pairloom.data.batch import Batch
from pairloom.data.datasets.questions import plain
from pairloom.data.detected import Detected
from pairloom.data.pixels import Picture
from pairloom.data.records import Questions
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.model.numbers import finite
from pairloom.tasks.decode import Writing, decode
from pairloom.verbs import able

FIRST = 128  # answers that are scored, those with the likeliest first tokens: as published


@dataclass(frozen=True)
class Answer:
    """An answer and its score: the log-probability of a written answer; of a chosen one the same with label smoothing. Higher
    is better."""

    text: str
    score: float

    def __str__(self) -> str:
        return self.text


def questions_batch(
    model: Model,
    images: Tensor | Sequence[Picture | Detected],
    questions: Sequence[str],
    image_of: Sequence[int] | None = None,
) -> Batch:
    """Batch of pictures, or of their regions where the model reads those, with questions. image_of: the picture of each question
    (None: one question a picture). A question that is longer than the system reads is truncated."""
    owner = None if image_of is None else torch.tensor(list(image_of), dtype=torch.long)
    texts = model.texts([plain(question) for question in questions])
    return replace(model.batch(images), question=Questions(texts, owner)).to(model.device)


def demand_short(what: str, text: str, tokens: Tokens, length: int) -> None:
    """Raise Mistake where a text (what: "question", "statement") is longer than the system reads."""
    if tokens.too_long(text, length):
        raise Mistake(
            f"The {what} is longer than the {length} tokens that this model reads.",
            f"It begins: {text[:60]!r}.",
            "Give a shorter one.",
        )


@dataclass
class Node:
    """Node of the tree of answers: a prefix. ends: the answer that ends here; under: next token -> longer prefixes."""

    ends: int | None = None
    under: dict[int, Node] = field(default_factory=dict)
    count: int = 0


Row = tuple[int, Node, float]  # a question, a prefix of answers to it, and its score so far


class Choices:
    """A list of answers as a tree of tokens (a trie). Mistake for an empty list, and for an answer without tokens."""

    def __init__(self, tokens: Tokens, answers: Sequence[str], length: int) -> None:
        self.texts = list(dict.fromkeys(text.strip() for text in answers if text.strip()))
        if not self.texts:
            raise Mistake(
                "There is no answer to choose from.", "The list is empty.", "Give one answer a line."
            )
        self.root = Node()
        for number, row in enumerate(tokens.bare(self.texts)):
            node = self.root
            node.count += 1
            for token in row[: length - 2]:
                node = node.under.setdefault(token, Node())
                node.count += 1
            node.ends = number if node.ends is None else node.ends  # answers with equal tokens count as one
        self.first = torch.tensor(list(self.root.under))

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Answering:
    """Options of question answering; the defaults are as published. choices: answers to choose from; without them the model
    writes, by `writing`. first: score only this many choices, those with the likeliest first tokens (0: all). several:
    answers to each question."""

    writing: Writing = Writing(way="beam", beams=3, max_length=10, min_length=1)
    choices: Choices | None = None
    first: int = FIRST
    several: int = 1

    @classmethod
    def checked(
        cls, model: Model, choices: Sequence[str] = (), several: int = 1, beams: int = 3, max_length: int = 10,
        first: int = FIRST,
    ) -> Answering:  # fmt: skip
        """Options, checked against the model. Mistake where they do not fit it."""
        if max_length < 2:
            raise Mistake(
                f"--max-length {max_length} leaves nothing to write.", "The first token counts.", "Give 10."
            )
        try:
            writing = Writing("beam", max(beams, several), max_length, 1, several=several)
        except ValueError as error:
            raise Mistake("These options do not fit.", str(error)) from error
        if choices and able(model.system, "choose"):
            raise Mistake(
                f"This {model.name} chooses from the {model.config.answers} answers that it learned.",
                "It cannot be given others.",
                "Leave them out.",
            )
        listed = Choices(model.tokens, choices, model.config.answer_length) if choices else None
        return cls(writing, listed, first, several)


def answer(
    model: Model,
    images: Tensor | Sequence[Picture | Detected],
    questions: Sequence[str],
    options: Answering = Answering(),
    image_of: Sequence[int] | None = None,
) -> list[list[Answer]]:
    """Answer questions about pictures: `options.several` answers to each, best first. image_of: the picture of each
    question."""
    if able(model.system, "choose"):
        texts = [plain(question) for question in questions]
        return choose_listed(model, model.batch(images, texts, image_of), options.several)
    batch = questions_batch(model, images, questions, image_of)
    if options.choices is not None:
        return choose(model.system, batch, options.choices, options.several, options.first)
    return write(model, batch, options.writing)


def write(model: Model, batch: Batch, writing: Writing = Answering.writing) -> list[list[Answer]]:
    """Write answers to the questions of a batch, `writing.several` for each, best first."""
    return [
        [Answer(model.tokens.decode(list(one.tokens)).strip(), one.log_probability) for one in written]
        for written in decode(model.system, batch, writing)
    ]


def listed_answers(model: Model) -> tuple[str, ...]:
    """The texts of the model's list, or their numbers where nobody said what they are."""
    listed: tuple[str, ...] = model.config.answer_list
    return listed or tuple(map(str, range(model.config.answers)))


@torch.no_grad()
def choose_listed(model: Model, batch: Batch, several: int = 1) -> list[list[Answer]]:
    """Choose the `several` best answers of the model's own list to each question, which are the batch's texts. The score is the
    logarithm of the softmax."""
    names = listed_answers(model)
    logits = finite(model.system.answer_logits(batch), "scores of the answers")
    best = logits.log_softmax(1).topk(min(several, len(names)))
    return [
        [Answer(names[place], score) for place, score in zip(places, scores)]
        for places, scores in zip(best.indices.tolist(), best.values.tolist())
    ]


@torch.no_grad()
def choose(
    system: Any,
    batch: Batch,
    choices: Choices,
    several: int = 1,
    first: int = FIRST,
    smoothing: float | None = None,
) -> list[list[Answer]]:
    """Choose the `several` best answers to each question, best first.

    first: score only this many answers, those with the likeliest first tokens (0: all). smoothing: of the labels (None: as
    in the system's training).
    """
    eps = getattr(system.config, "label_smoothing", 0.0) if smoothing is None else smoothing
    state = system.start(batch)
    questions = len(state)
    device = batch.device
    logits, state = system.step(state, torch.full((questions,), system.first_token, device=device))
    finite(logits.amax(1), "scores of the next word")
    best: list[dict[int, float]] = [{} for _ in range(questions)]
    rows = [(question, choices.root, 0.0) for question in range(questions)]
    allowed = [_likeliest(row, choices, first) for row in logits.float().softmax(1)]
    while rows:
        costs = _costs(logits, eps)
        for (question, node, score), end in zip(rows, costs[:, system.last_token].tolist()):
            if node.ends is not None:
                best[question][node.ends] = score + end
        taken, rows = _grown(
            rows, costs, [_bar(costs_of, several) for costs_of in best], choices.root, allowed
        )
        if rows:
            parents, tokens = torch.tensor(taken, device=device).T
            logits, state = system.step(state.select(parents), tokens)
    return [_ranked(costs_of, choices, several) for costs_of in best]


def _grown(
    rows: list[Row], costs: Tensor, bars: Sequence[float], root: Node, allowed: Sequence[set[int]]
) -> tuple[list[tuple[int, int]], list[Row]]:
    """The prefixes that are one token longer and can still win, each with its row before and its token."""
    steps = [
        (at, token)
        for at, (question, node, _) in enumerate(rows)
        for token in node.under
        if node is not root or token in allowed[question]
    ]
    taken, longer = [], []
    for (at, token), cost in zip(steps, costs[tuple(zip(*steps))].tolist() if steps else ()):
        question, node, score = rows[at]
        if score + cost >= bars[question]:
            taken.append((at, token))
            longer.append((question, node.under[token], score + cost))
    return taken, longer


def _costs(logits: Tensor, eps: float) -> Tensor:
    """Score of each next token [R V]: (1 - eps) log p + eps * mean of all log p, never above 0."""
    log_probabilities = logits.float().log_softmax(1)
    return (1 - eps) * log_probabilities + eps * log_probabilities.mean(1, keepdim=True)


def _likeliest(chances: Tensor, choices: Choices, first: int) -> set[int]:
    """The first tokens of the `first` answers with the likeliest first tokens. Where the limit falls among the answers of
    one token, that token is included."""
    tokens = choices.first.tolist()
    if not first:
        return set(tokens)
    kept: set[int] = set()
    count = 0
    for token in sorted(tokens, key=lambda token: -float(chances[token])):
        if count >= first:
            break
        kept.add(token)
        count += choices.root.under[token].count
    return kept


def _bar(costs_of: dict[int, float], several: int) -> float:
    """The score that a prefix must reach to remain in the search."""
    return sorted(costs_of.values(), reverse=True)[several - 1] if len(costs_of) >= several else float("-inf")


def _ranked(costs_of: dict[int, float], choices: Choices, several: int) -> list[Answer]:
    order = sorted(costs_of, key=lambda number: -costs_of[number])[:several]
    return [Answer(choices.texts[number], costs_of[number]) for number in order]


def paired(pictures: int, texts: list[str]) -> tuple[list[str], list[int]]:
    """Texts with the picture of each: one text for all pictures, all texts for one picture, or one each in order."""
    if len(texts) == 1:
        return texts * pictures, list(range(pictures))
    if pictures == 1:
        return texts, [0] * len(texts)
    if pictures != len(texts):
        raise ValueError(f"{pictures} pictures and {len(texts)} questions: give one of either, or as many")
    return texts, list(range(pictures))
