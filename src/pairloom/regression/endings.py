"""Endings of texts: the log-odds that a text is complete and not cut off, from the other texts of the set alone.

A cut text ends where texts of the set seldom end: within a word, after "left of", or without the full stop that all texts with a
capital letter have. The evidence is how often texts end after this piece of a word, this word, and these two words (with
back-off to the shorter context), how often a text that begins so ends with this kind of character, and the number of words.
Logistic regression weighs it on texts of the set that are cut at a random place, cross-fitted. No language is built in.

Does not know: pictures, files, thresholds.

n texts, K folds, P kinds of evidence.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pairloom.regression.logistic import fit_logistic
from pairloom.regression.words import WORD

Table = NDArray[np.float64]
_TOKEN = re.compile(f"{WORD}|[^\\w\\s]")
LONGEST, LAST = 15, 40  # characters of a word, and last words of a text, that are counted
BACKOFF = 2.0  # observations that the estimate of the shorter context counts as
SPREAD = 5.0  # evidence beyond so many standard deviations counts as this
LEAST = 50  # texts, for a fit


@dataclass(frozen=True)
class Endings:
    """How often contexts occur and how often a text ends after them: in all texts, and in those of each fold. The weights
    [K P + 1] of the evidence, whose columns have these means and deviations [2 P]."""

    whole: Counter[str]
    folds: tuple[Counter[str], ...]
    scale: Table
    weights: Table

    @classmethod
    def learn(cls, texts: Sequence[str], folds: NDArray[np.int64], seeds: Sequence[int]) -> Endings | None:
        """Learn from texts and the fold of each [n]. seeds: of the place where each is cut. None for few texts."""
        count = int(folds.max()) + 1 if len(folds) else 0
        parts = tuple(Counter[str]() for _ in range(count))
        for text, fold in zip(texts, folds.tolist()):
            parts[fold].update(_counted(text))
        whole = sum(parts, Counter[str]())
        counts = cls(whole, parts, np.zeros((2, 0)), np.zeros((0, 0)))
        evidence: list[Table] = []
        complete: list[NDArray[np.bool_]] = []
        for fold in range(count):
            rows = np.flatnonzero(folds == fold).tolist()
            cut = [cut_text(texts[row], seeds[row]) for row in rows]
            both = [texts[row] for row in rows] + [text for text in cut if text is not None]
            evidence.append(np.array([counts.evidence(text, fold) for text in both]).reshape(len(both), -1))
            complete.append(np.arange(len(both)) < len(rows))
        if len(texts) < LEAST or min(map(len, evidence)) == 0 or count < 2:
            return None
        everything = np.concatenate(evidence)
        scale = np.stack([everything.mean(0), np.maximum(everything.std(0), 1e-6)])
        tables = [_scaled(each, scale) for each in evidence]
        weights = []
        for fold in range(count):
            rest = [other for other in range(count) if other != fold]
            label = np.concatenate([complete[other] for other in rest]).astype(np.float64)
            weights.append(fit_logistic(np.concatenate([tables[other] for other in rest]), label))
        return cls(whole, parts, scale, np.array(weights))

    def scores(self, texts: Sequence[str], folds: NDArray[np.int64]) -> Table:
        """Log-odds [n] that texts are complete, by what was learnt without the fold of each [n]."""
        scores = np.zeros(len(texts))
        for row, (text, fold) in enumerate(zip(texts, folds.tolist())):
            weights = self.weights[fold]
            scores[row] = (_scaled(self.evidence(text, fold), self.scale) * weights[:-1]).sum() + weights[-1]
        return scores

    def evidence(self, text: str, fold: int) -> Table:
        """Evidence [P] about a text, without the texts of its fold."""
        tokens = _tokens(text)
        chance = self._share("", "", fold, 0.0)
        after = []
        for context in _contexts(tokens):
            chance = self._share(context, "", fold, chance)
            after.append(math.log(chance))
        closing = _last(text)
        kind = self._share("all", closing, fold, 0.05)
        for context in (f"first {_kind(text[0])}", f"word {tokens[0]}") if tokens else ():
            kind = self._share(context, closing, fold, kind)
        return np.array([*after, math.log(kind), math.log(1 + len(tokens))])

    def _share(self, context: str, closing: str, fold: int, prior: float) -> float:
        """Share of a context's occurrences in the other folds after which a text ends (so)."""
        own = self.folds[fold]
        seen, ended = (self.whole[key] - own[key] for key in (context, f"{context}\n{closing}"))
        return (ended + BACKOFF * max(prior, 1e-4)) / (seen + BACKOFF)


def cut_text(text: str, seed: int) -> str | None:
    """The text, cut at a random place: every other one after a whole word. None where nothing is left, or nothing is cut."""
    random = np.random.default_rng(seed)
    stop = int(random.integers(1, max(2, len(text))))
    start = text[:stop].rstrip()
    if random.integers(2) and stop < len(text) and not text[stop].isspace() and " " in start:
        start = start[: start.rindex(" ")].rstrip()
    return start if start and start != text.rstrip() else None


def _tokens(text: str) -> list[str]:
    return [token[:LONGEST] for token in _TOKEN.findall(text.lower())]


def _contexts(tokens: Sequence[str]) -> list[str]:
    """Contexts of the last token, the shortest first: its letters, whatever follows them; the whole word; the last two words."""
    last = tokens[-1] if tokens else ""
    before = tokens[-2] if len(tokens) > 1 else ""
    return [f"part {last}", f"last {last}", f"two {before} {last}"]


def _counted(text: str) -> Iterator[str]:
    """Keys of what is counted in a text: each occurrence of a context, and, with a line break, that the text ends after it."""
    tokens = _tokens(text)
    if not tokens:
        return
    for at in range(max(0, len(tokens) - LAST), len(tokens)):
        yield ""
        yield from (f"part {tokens[at][:stop]}" for stop in range(1, len(tokens[at]) + 1))
        yield from _contexts(tokens[: at + 1])[1:]
    for context in ("", *_contexts(tokens)):
        yield f"{context}\n"
    closing = _last(text)
    for context in ("all", f"first {_kind(text[0])}", f"word {tokens[0]}"):
        yield context
        yield f"{context}\n{closing}"


def _last(text: str) -> str:
    """The kind of the last character: a letter or digit, or the very mark."""
    last = text.rstrip()[-1:]
    return "word" if last.isalnum() else last


def _kind(letter: str) -> str:
    return "capital" if letter.isupper() else "small" if letter.islower() else "other"


def _scaled(evidence: Table, scale: Table) -> Table:
    return np.clip((evidence - scale[0]) / scale[1], -SPREAD, SPREAD)
