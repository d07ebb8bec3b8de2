"""Few-shot prompting: a task is defined by examples in the prompt, without training (Alayrac et al., 2022, appendix B.1).

A prompt is the examples one after the other, each "<image>TEXT<|endofchunk|>", then the picture of the question and the text
up to its answer. Examples are drawn at random, or those with the most similar pictures are taken, the most similar last
(RICES, Yang et al., 2022). Open answers are written until <|endofchunk|>; among choices the one with the highest
log-likelihood is taken. "0 shots" are two examples without their pictures. Each picture is encoded once, however many
prompts it is in. Requires `Interleaves` and `Writes`.

M examples, B questions, N pictures of a prompt, E embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy
import torch
from torch import Tensor

from pairloom.data.batch import Batch
from pairloom.data.pair import seed_of
from pairloom.data.pixels import Picture
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.model.numbers import finite
from pairloom.tasks.decode import Writing, decode
from pairloom.verbs import demand

ANSWER = "{answer}"
TEMPLATES = {
    "caption": "Output: {answer}",
    "question": "Question: {question} Answer: {answer}",
    "short": "Question: {question} Short answer: {answer}",
    "name": "{answer}",
}
BLIND = 2  # with "0 shots": examples without pictures, which show the format


@dataclass(frozen=True)
class Shot:
    """An example or a query: a picture by its index, the question about it, and the answer of an example."""

    picture: int
    answer: str = ""
    question: str = ""


@dataclass(frozen=True)
class Prompting:
    """Options of prompting. shots: examples in a prompt; alike: those with the most similar pictures (else drawn by seed);
    orders: number of orders of the examples over which the likelihood of a choice is averaged (6 in the paper). choices:
    closed answers; without them open answers are written, of at most writing.max_length tokens."""

    template: str = TEMPLATES["caption"]
    shots: int = 4
    alike: bool = True
    orders: int = 1
    seed: int = 0
    writing: Writing = Writing("beam", 3, 20, 0)
    choices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.template.count(ANSWER) != 1 or not self.template.endswith(ANSWER):
            raise ValueError(f"a template ends with {ANSWER}, and has it once: '{self.template}'")
        if self.shots < 0 or self.orders < 1:
            raise ValueError("shots are 0 or more, orders 1 or more")

    @classmethod
    def checked(
        cls,
        template: str,
        *,
        beams: int = 3,
        max_length: int = 20,
        choices: Sequence[str] = (),
        **options: Any,
    ) -> Prompting:
        """Options, checked. template: a name of TEMPLATES, or a template itself. Mistake where they do not fit."""
        try:
            writing = Writing("beam", beams, max_length, 0)
            own = TEMPLATES.get(template, template)
            return cls(own, writing=writing, choices=tuple(choices), **options)
        except ValueError as error:
            raise Mistake("These options do not fit.", str(error)) from error


@dataclass(frozen=True)
class FewShotAnswer:
    """An answer to a query. log_probability: of the answer and its end. shots: indices of the examples in the prompt, in their
    order."""

    text: str
    log_probability: float
    shots: tuple[int, ...]

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Until:
    """Wrapper of a writer that ends its texts at another token."""

    system: Any
    last_token: int

    @property
    def first_token(self) -> int:
        return int(self.system.first_token)

    def start(self, batch: Batch) -> Any:
        return self.system.start(batch)

    def step(self, state: Any, tokens: Tensor) -> tuple[Tensor, Any]:
        result: tuple[Tensor, Any] = self.system.step(state, tokens)
        return result

    def read(self, state: Any, tokens: Tensor) -> tuple[Tensor, Any]:
        result: tuple[Tensor, Any] = self.system.read(state, tokens)
        return result

    def logits(self, batch: Batch) -> Tensor:
        result: Tensor = self.system.logits(batch)
        return result


def choose(support: Tensor, queries: Tensor, options: Prompting) -> list[list[int]]:
    """Choose the examples [B shots] of each query by the embeddings of the pictures [M E] and [B E], the most similar last.

    Mistake for fewer examples than shots.
    """
    wanted = options.shots or BLIND
    if len(support) < wanted:
        raise Mistake(
            f"Every prompt has {wanted} examples, and there are {len(support)}.",
            "With 0 shots a prompt still has two examples, without their pictures."
            if not options.shots
            else "",
            "Give more examples, or ask for fewer shots.",
        )
    if options.alike and options.shots:
        return (queries.float() @ support.float().T).topk(wanted).indices.flip(1).tolist()
    draws = (numpy.random.default_rng(seed_of("shots", options.seed, row)) for row in range(len(queries)))
    return [draw.permutation(len(support))[:wanted].tolist() for draw in draws]


def prompt(
    tokens: Tokens, options: Prompting, shots: Sequence[Shot], query: Shot
) -> tuple[list[int], list[int]]:
    """Build a prompt: its token ids, from [CLS] up to the answer, and the pictures of its marks."""
    ids, pictures = [tokens.cls], []
    for shot in shots:
        if options.shots:
            ids.append(tokens.id("image"))
            pictures.append(shot.picture)
        ids += [*_ids(tokens, _fill(options.template, shot)), tokens.id("end")]
    ask = _fill(options.template.removesuffix(ANSWER), query).rstrip()
    return [*ids, tokens.id("image"), *_ids(tokens, ask)], [*pictures, query.picture]


def _fill(template: str, shot: Shot) -> str:
    return template.replace("{question}", shot.question).replace(ANSWER, shot.answer)


def _ids(tokens: Tokens, text: str) -> list[int]:
    return tokens.bare([text])[0]


@torch.no_grad()
def few_shot(
    model: Model,
    encoded: Batch,
    support: Sequence[Shot],
    queries: Sequence[Shot],
    options: Prompting = Prompting(),
) -> list[FewShotAnswer]:
    """Answer every query. encoded: a batch of single pictures, already encoded. Mistake where a prompt has more tokens or
    pictures than the model reads."""
    system, tokens, choices, writing = model.system, model.tokens, options.choices, options.writing
    _check(system, options)
    embeddings = system.embed_image(encoded)
    device = embeddings.device
    rows = torch.tensor([shot.picture for shot in support], device=device)
    pictures = torch.tensor([shot.picture for shot in queries], device=device)
    chosen = choose(embeddings[rows], embeddings[pictures], options)
    answers: list[FewShotAnswer | None] = [None] * len(queries)
    totals = torch.zeros(len(queries), len(choices), device=device)
    for order in range(options.orders if choices else 1):
        ordered = [_ordered(row, order, options.seed) for row in chosen]
        built = [
            prompt(tokens, options, [support[at] for at in row], one) for row, one in zip(ordered, queries)
        ]
        for group in _alike(built):
            ids = torch.tensor([built[row][0] for row in group], device=device)
            batch = system.arrange(encoded, torch.tensor([built[row][1] for row in group], device=device))
            longest = max((len(_ids(tokens, choice)) for choice in choices), default=writing.max_length - 1)
            _fits(system, ids.shape[1] + longest + 1)
            if choices:
                totals[group] += _likelihoods(system, tokens, batch, ids, choices) / options.orders
                continue
            for row, text in zip(group, _written(system, tokens, batch, ids, writing)):
                answers[row] = FewShotAnswer(*text, tuple(ordered[row]))
    if choices:
        best = totals.argmax(1).tolist()
        return [
            FewShotAnswer(choices[at], float(totals[row, at]), tuple(chosen[row]))
            for row, at in enumerate(best)
        ]
    return [answer for answer in answers if answer is not None]


def _check(system: Any, options: Prompting) -> None:
    demand(system, "prompt")
    if options.shots > system.config.shots:
        raise Mistake(
            f"{options.shots} shots are too many for this model.",
            f"It reads {system.config.shots}, and was trained on rows of {system.config.images} pictures.",
            f"Ask for at most {system.config.shots}.",
        )


def _fits(system: Any, length: int) -> None:
    if length > system.longest:
        raise Mistake(
            f"A prompt of {length} tokens is longer than the {system.longest} that the model reads.",
            "",
            "Ask for fewer shots, or for shorter texts.",
        )


def _ordered(row: list[int], order: int, seed: int) -> list[int]:
    """A random order of the examples; order 0 is that of `choose`."""
    if not order:
        return row
    return [row[at] for at in numpy.random.default_rng(seed_of("order", seed, order)).permutation(len(row))]


def _alike(built: Sequence[tuple[list[int], list[int]]]) -> list[list[int]]:
    """Group prompts of one length, so that none needs padding."""
    groups: dict[tuple[int, int], list[int]] = {}
    for row, (ids, pictures) in enumerate(built):
        groups.setdefault((len(ids), len(pictures)), []).append(row)
    return list(groups.values())


def _written(
    system: Any, tokens: Tokens, batch: Batch, ids: Tensor, writing: Writing
) -> list[tuple[str, float]]:
    room = replace(
        writing,
        max_length=ids.shape[1] + writing.max_length,
        min_length=ids.shape[1] + writing.min_length if writing.min_length else 0,
    )
    decoded = decode(Until(system, tokens.id("end")), batch, room, ids)
    return [(tokens.decode(texts[0].tokens).strip(), texts[0].log_probability) for texts in decoded]


def _likelihoods(system: Any, tokens: Tokens, batch: Batch, ids: Tensor, choices: Sequence[str]) -> Tensor:
    """Log-probabilities [B C] of each choice and its end. The prompt is read once for all choices."""
    rows = [[*_ids(tokens, choice), tokens.id("end")] for choice in choices]
    logits, state = system.read(system.start(batch), ids)
    logits, state = logits.repeat_interleave(len(rows), 0), state.expand(len(rows))
    total = logits.new_zeros(len(logits))
    for at in range(max(map(len, rows))):
        last = torch.tensor([row[at] if at < len(row) else tokens.pad for row in rows], device=ids.device)
        last = last.repeat(len(ids))
        real = torch.tensor([at < len(row) for row in rows], device=ids.device).repeat(len(ids))
        total += logits.float().log_softmax(1).gather(1, last[:, None])[:, 0] * real
        if at + 1 < max(map(len, rows)):
            logits, state = system.step(state, last)
    return finite(total, "scores of the next word").unflatten(0, (len(ids), len(rows)))


def demand_question(options: Prompting, question: str) -> None:
    """Raise Mistake where the template has a question and none is given."""
    if "{question}" in options.template and not question:
        raise Mistake("The template asks a question.", f"'{options.template}'", "Give it by --question.")


class Prompter:
    """Few-shot prompter: the examples are encoded once, for any number of queries.

    images, answers: of the examples. question: for {question} in the template, the same for all.
    """

    def __init__(
        self,
        model: Model,
        images: Sequence[Picture],
        answers: Sequence[str],
        options: Prompting = Prompting(),
        question: str = "",
    ) -> None:
        demand_question(options, question)
        self.model, self.options, self.question = model, options, question
        self.support = [Shot(at, answer, question) for at, answer in enumerate(answers)]
        self.known = self._encode(images)

    @torch.no_grad()
    def _encode(self, images: Sequence[Picture]) -> Any:
        return self.model.system.encode_image(Batch(images=self.model.pictures(images)[:, None])).encoded

    def answer(self, images: Sequence[Picture]) -> list[FewShotAnswer]:
        """An answer about each picture."""
        encoded = Batch(encoded=self.known.beside(self._encode(images)))
        queries = [Shot(len(self.support) + row, question=self.question) for row in range(len(images))]
        return few_shot(self.model, encoded, self.support, queries, self.options)
