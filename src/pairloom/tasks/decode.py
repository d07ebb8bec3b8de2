"""Decoding: texts token by token, by greedy search, beam search or nucleus sampling.

Requires `start` and `step`. Lengths are counted in tokens and include the first token and the prompt, as in transformers'
generate, whose scores and stopping rules the beam search has.

I pictures, R rows (texts being written), K beams, L longest text, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pairloom.data.batch import Batch
from pairloom.data.pair import seed_of
from pairloom.model.numbers import finite
from pairloom.verbs import Reads, Writes, prompt_of

OUT = -1e9  # a score that no text reaches


@dataclass(frozen=True)
class Writing:
    """Options of decoding. The defaults are those of BLIP's captioning. several: texts per picture (of a beam search the best
    ones).

    top_k 0: no limit (BLIP's paper samples with top_p 0.9 alone; its released code also has transformers' default top_k of
    50). repetition_penalty above 1 makes tokens that are in the text already less likely. length_rule: a beam search
    compares log-probabilities divided by (a number of tokens) ** length_penalty: by those that are written, the end included
    ("sum", transformers since 2023), or by all but the end, the first token and the prompt included ("released": transformers
    before, by which published BLIP captions were made).
    """

    way: Literal["greedy", "beam", "nucleus"] = "beam"
    beams: int = 3
    max_length: int = 20
    min_length: int = 5
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    top_p: float = 0.9
    top_k: int = 0
    temperature: float = 1.0
    length_rule: Literal["sum", "released"] = "sum"
    several: int = 1

    def __post_init__(self) -> None:
        if self.length_rule not in ("sum", "released"):
            raise ValueError(f"length_rule is sum or released, got {self.length_rule}")
        if (
            min(self.beams, self.several, self.max_length) < 1
            or self.temperature <= 0
            or not 0 < self.top_p <= 1
        ):
            raise ValueError(
                "beams, several and max_length are at least 1, temperature is above 0, top_p in (0, 1]"
            )
        if self.way == "beam" and self.several > self.beams:
            raise ValueError(f"{self.beams} beams cannot give {self.several} texts: raise beams")


@dataclass(frozen=True)
class Written:
    """A decoded text: its tokens after the prompt and without the end token; whether it ends with the end token; the sum of
    the system's log-probabilities of its tokens, end included; and the number of these tokens."""

    tokens: tuple[int, ...]
    ended: bool
    log_probability: float
    steps: int

    @property
    def mean(self) -> float:
        """Log-probability per token: comparable between lengths."""
        return self.log_probability / max(1, self.steps)


@torch.no_grad()
def decode(
    system: Writes,
    batch: Batch,
    writing: Writing = Writing(),
    prompt: Sequence[int] | Tensor | None = None,
    seeds: Sequence[int] | None = None,
) -> list[list[Written]]:
    """Decode `several` texts for each picture, the most likely first in a beam search.

    prompt: the tokens after the first one, for all pictures; or a table [I P] with a prompt for each, first token included;
    None: the system's own.
    seeds: one per picture, for nucleus sampling: the texts of a picture then do not depend on the rest of the batch.
    ValueError where seeds are missing, or where the prompt is as long as max_length.
    """
    prompt = prompt_of(system) if prompt is None else prompt
    prefix = prompt if isinstance(prompt, Tensor) else torch.tensor([[system.first_token, *prompt]])
    if prefix.shape[1] >= writing.max_length:
        raise ValueError(
            f"the prompt has {prefix.shape[1]} tokens and max_length is {writing.max_length}: nothing to write"
        )
    state = system.start(batch)
    pictures = len(state)
    history = prefix.to(batch.device).expand(
        pictures, -1
    )  # of one length for all pictures, so without padding
    if isinstance(system, Reads):
        logits, state = system.read(state, history)
    else:
        for at in range(history.shape[1]):
            logits, state = system.step(state, history[:, at])
    finite(logits.amax(1), "scores of the next word")
    if writing.way == "beam":
        return _beam(system, state, logits, history, writing)
    times = writing.several if writing.way == "nucleus" else 1
    dice = _dice(seeds, pictures, writing).to(logits) if writing.way == "nucleus" else None
    rows = torch.arange(pictures, device=logits.device).repeat_interleave(times)
    texts = _lines(system, state.expand(times), logits[rows], history[rows], writing, dice)
    return [texts[start : start + times] for start in range(0, len(texts), times)]


def adjust(
    scores: Float[Tensor, "R V"], history: Int[Tensor, "R L"], last: int, writing: Writing
) -> Float[Tensor, "R V"]:
    """Adjusted logits: with the repetition penalty (Keskar et al., 2019), and without an end before min_length."""
    if writing.repetition_penalty != 1.0:
        there = scores.gather(1, history)
        penalty = writing.repetition_penalty
        scores = scores.scatter(1, history, torch.where(there < 0, there * penalty, there / penalty))
    if history.shape[1] < writing.min_length:
        scores = scores.index_fill(1, torch.tensor([last], device=scores.device), float("-inf"))
    return scores


def nucleus(
    scores: Float[Tensor, "R V"], writing: Writing
) -> tuple[Float[Tensor, "R K"], Int[Tensor, "R K"]]:
    """Nucleus sampling (Holtzman et al., 2019): the probabilities in falling order, and their tokens. Kept are the top_k most
    likely tokens, and of these the fewest that reach top_p together; the others have probability 0."""
    kept = min(writing.top_k or scores.shape[1], scores.shape[1])
    chances, tokens = (scores / writing.temperature).topk(kept)
    chances = chances.softmax(1)
    before = chances.cumsum(1) - chances
    chances = chances.masked_fill(before >= writing.top_p, 0.0)
    return chances / chances.sum(1, keepdim=True), tokens


def _dice(seeds: Sequence[int] | None, pictures: int, writing: Writing) -> Tensor:
    """Uniform random numbers [I * several, L], from the seed of the picture and the number of the text alone."""
    if seeds is None or len(seeds) != pictures:
        raise ValueError(f"sampling needs one seed for each of the {pictures} pictures")
    rolls = []
    for seed in seeds:
        for index in range(writing.several):
            generator = torch.Generator().manual_seed(seed_of(str(int(seed)), index))
            rolls.append(torch.rand(writing.max_length, generator=generator))
    return torch.stack(rolls)


def _lines(
    system: Writes, state: Any, logits: Tensor, history: Tensor, writing: Writing, dice: Tensor | None
) -> list[Written]:
    """Decode one text per row by greedy search (dice None) or sampling; rows that have ended are removed."""
    rows, length = history.shape
    texts = torch.full((rows, writing.max_length), system.last_token, device=logits.device)
    texts[:, :length] = history
    total, lengths = logits.new_zeros(rows, dtype=torch.float), torch.full_like(texts[:, 0], length)
    alive = torch.arange(rows, device=logits.device)
    for at in range(length, writing.max_length):
        scores = adjust(logits.float(), texts[alive, :at], system.last_token, writing)
        if dice is None:
            token = scores.argmax(1)
        else:
            chances, tokens = nucleus(scores, writing)
            place = (chances.cumsum(1) <= dice[alive, at, None]).sum(1, keepdim=True)
            token = tokens.gather(1, place.minimum((chances > 0).sum(1, keepdim=True) - 1))[:, 0]
        texts[alive, at] = token
        total[alive] += logits.float().log_softmax(1).gather(1, token[:, None])[:, 0]
        lengths[alive] = at + 1
        going = (token != system.last_token).nonzero()[:, 0]
        if not len(going) or at + 1 == writing.max_length:
            break
        if len(going) < len(alive):
            alive, token, state = alive[going], token[going], state.select(going)
        logits, state = system.step(state, token)
        finite(logits.amax(1), "scores of the next word")
    return _written(texts, lengths, total, length, system.last_token)


def _written(texts: Tensor, lengths: Tensor, totals: Tensor, prefix: int, last: int) -> list[Written]:
    texts_written = []
    for row, length, total in zip(texts.tolist(), lengths.tolist(), totals.tolist()):
        tokens = row[prefix:length]
        ended = bool(tokens) and tokens[-1] == last
        texts_written.append(Written(tuple(tokens[:-1] if ended else tokens), ended, total, len(tokens)))
    return texts_written


@dataclass
class _Beams:
    """Beams: texts [I K L], their adjusted scores [I K] (sums), their log-probabilities [I K], and their lengths."""

    texts: Tensor
    scores: Tensor
    plain: Tensor
    lengths: Tensor

    def pick(self, order: Tensor) -> _Beams:
        """Beams [I M] of each picture, in this order."""
        row = torch.arange(len(order), device=order.device)[:, None]
        return _Beams(
            self.texts[row, order], self.scores[row, order], self.plain[row, order], self.lengths[row, order]
        )

    def pictures(self, rows: Tensor) -> _Beams:
        return _Beams(self.texts[rows], self.scores[rows], self.plain[rows], self.lengths[rows])

    def beside(self, other: _Beams) -> _Beams:
        pairs = zip(vars(self).values(), vars(other).values())
        return _Beams(*(torch.cat(pair, 1) for pair in pairs))


def _beam(
    system: Writes, state: Any, logits: Tensor, history: Tensor, writing: Writing
) -> list[list[Written]]:
    """Beam search (Sutskever et al., 2014). A picture is finished when no running text, at its present length, can be better
    than the worst of K finished ones."""
    (pictures, length), beams = history.shape, writing.beams
    texts = torch.full((pictures, beams, writing.max_length), system.last_token, device=logits.device)
    texts[:, :, :length] = history[:, None]
    scores = logits.new_zeros(pictures, beams, dtype=torch.float)
    lengths = torch.full_like(texts[:, :, 0], length)
    running = _Beams(
        texts, scores.index_fill(1, torch.arange(1, beams, device=scores.device), OUT), scores, lengths
    )
    done = _Beams(texts, torch.full_like(scores, OUT), scores, lengths)
    result: list[list[Written]] = [[] for _ in range(pictures)]
    alive = torch.arange(pictures, device=logits.device)
    logits, state = logits.repeat_interleave(beams, 0), state.expand(beams)
    for at in range(length, writing.max_length):
        candidates, came = _grow(running, logits, at, system.last_token, writing)
        ended = candidates.texts[:, :, at] == system.last_token
        finished, reach = _finish(candidates, ended, at + 1, length, writing)
        done = done.beside(finished)
        done = done.pick(done.scores.topk(beams)[1])
        candidates.scores = candidates.scores + (ended | (at + 1 == writing.max_length)) * OUT
        order = candidates.scores.topk(beams)[1]
        running, came = candidates.pick(order), came.gather(1, order)
        open_ = reach > done.scores.min(1).values
        if at + 1 == writing.max_length:
            open_[:] = False
        for index in (~open_).nonzero()[:, 0].tolist():
            best_texts = done.pictures(torch.tensor([index], device=logits.device))
            rows = _written(
                best_texts.texts[0], best_texts.lengths[0], best_texts.plain[0], length, system.last_token
            )
            result[int(alive[index])] = rows[: writing.several]
        going = open_.nonzero()[:, 0]
        if not len(going):
            break
        alive, running, done = alive[going], running.pictures(going), done.pictures(going)
        state = state.select((going[:, None] * beams + came[going]).flatten())
        logits, state = system.step(state, running.texts[:, :, at].flatten())
        finite(logits.amax(1), "scores of the next word")
    return result


def _grow(running: _Beams, logits: Tensor, at: int, last: int, writing: Writing) -> tuple[_Beams, Tensor]:
    """The 2K best texts that are one token longer (so that K can go on where K end), and the beam of origin [I 2K]."""
    pictures, beams = running.scores.shape
    plain = logits.float().log_softmax(1)
    scores = adjust(plain, running.texts[:, :, :at].flatten(0, 1), last, writing).view(pictures, beams, -1)
    vocabulary = scores.shape[2]
    best, where = (scores + running.scores[:, :, None]).flatten(1).topk(min(2 * beams, beams * vocabulary))
    came, token = where // vocabulary, where % vocabulary
    grown = running.pick(came)
    grown.texts[:, :, at] = token
    grown.scores = best
    grown.plain = grown.plain + plain.view(pictures, -1).gather(1, where)
    grown.lengths = grown.lengths + 1
    return grown, came


def _finish(
    candidates: _Beams, ended: Tensor, total: int, prefix: int, writing: Writing
) -> tuple[_Beams, Tensor]:
    """The candidates as finished texts, with scores per token (OUT where one goes on), and the score [I] that the best text
    which goes on has at this length.

    total: tokens of a candidate, of which `prefix` stood before it was written. Only candidates among the best K can end.
    """
    first = torch.arange(ended.shape[1], device=ended.device) < writing.beams
    sums, cut, power = candidates.scores, total == writing.max_length, writing.length_penalty
    if writing.length_rule == "sum":
        ends = (ended | cut) & first
        scores = sums / (total - prefix) ** power
        reach = scores.masked_fill(ended | cut, OUT).max(1).values
    else:  # the end does not count; what is cut off at the last token are the beams that would go on
        going = ~ended & ((~ended).cumsum(1) <= writing.beams)
        ends = ended & first | (going & cut)
        scores = torch.where(ended, sums / (total - 1) ** power, sums / total**power)
        reach = sums[:, 0] / total**power
    return replace(candidates, scores=torch.where(ends, scores, torch.full_like(scores, OUT))), reach
