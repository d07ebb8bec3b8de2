"""Languages of a set's texts: the probability that a text is in the set's main language.

A detector knows about 140 languages (py3langid, after langid.py: Lui and Baldwin 2012), but calls "black robot" Lithuanian, since it
expects every language alike. Two things that the set itself tells make short texts certain. How often each language occurs:
the detector's probabilities are weighed by the shares of the languages, which expectation maximisation finds (Saerens,
Latinne and Decaestecker 2002). And which words: naive Bayes on the words of the texts, each text with its probabilities as weights
and without its own (Nigam and others 2000), for languages that have `LEAST` texts: "robot rosa" is Spanish where other Spanish
texts say "rosa".

Does not know: files of a set, decisions.

n texts, D languages of the detector, L languages of the set, W words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]
_WORD = re.compile(r"\w+")
LEAST = 5  # texts of a language, for its words to be learnt
STEPS = 100  # of expectation maximisation of the shares
ROUNDS = 2  # of the words
KEPT = 5_000  # texts of which the detector's answers are kept
START = 300  # characters of a text that are read
SMOOTHING = 0.1  # weight of a word's frequency in all texts beside that in the texts of a language
CERTAIN = 0.001  # P(main language) of a text that is certainly in another one
SEEN = 0.5  # least number of other texts with a word
FLOOR = 1e-9  # least probability of a language by the detector


@dataclass(frozen=True)
class SetLanguages:
    """Languages of a set. detected [D]: shares by the detector; names (L) of the languages with words, shares [L], words (W),
    counts [W L] of their texts with each word. main: name of the main language."""

    main: str
    detected: Table
    names: tuple[str, ...]
    shares: Table
    words: tuple[str, ...]
    counts: Table

    @classmethod
    def learn(cls, texts: Sequence[str]) -> SetLanguages:
        """Learn shares and words from texts of the set."""
        table, detector = detect(texts), _detector()
        detected = _shares(table)
        chosen = np.flatnonzero(detected * len(texts) >= LEAST)
        places = {
            word: at for at, word in enumerate(sorted({word for text in texts for word in _spoken(text)}))
        }
        known = cls(
            detector.labels[int(detected.argmax())], detected, tuple(detector.labels[at] for at in chosen),
            _normalised(detected[None, chosen])[0], tuple(places), np.zeros((len(places), len(chosen))),
        )  # fmt: skip
        weights = _normalised(table[:, chosen] * detected[chosen])
        for _ in range(ROUNDS if len(chosen) > 1 else 0):
            counts = np.zeros((len(places), len(chosen)))
            for text, weight in {text: weight for text, weight in zip(texts, weights)}.items():
                counts[[places[word] for word in _spoken(text)]] += (
                    weight  # copies of a text are no witnesses of it
                )
            known = cls(known.main, detected, known.names, weights.mean(0), known.words, counts)
            weights = known._by_words(texts, table[:, chosen].astype(np.float64), weights)
        return known

    @property
    def several(self) -> bool:
        """Whether any text may be in another language than the main one."""
        return bool(np.sort(self.detected)[:-1].sum() > FLOOR)

    def main_share(self) -> float:
        """Share of the texts that are in the main language."""
        return float(self.detected.max()) if len(self.detected) else 1.0

    def other(self, texts: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which texts are certainly [n], and which may well be [n], in another language than the main one.

        It is certain where P(main language) is at most `CERTAIN`, and the detector, which knows nothing of the set, prefers
        another language too."""
        table = detect(texts)
        weights = _normalised(table * self.detected)
        main = int(self.detected.argmax())
        alone = weights[:, main]
        if len(self.names) < 2:
            return np.zeros(len(texts), bool), alone < 0.5
        chosen = [_detector().labels.index(name) for name in self.names]
        spoken = self._by_words(texts, table[:, chosen].astype(np.float64), _normalised(weights[:, chosen]))
        chance = spoken[:, self.names.index(self.main)]
        certain = (chance <= CERTAIN) & (table.argmax(1) != main)
        return certain, ((alone < 0.5) | (chance < 0.5)) & ~certain

    def _by_words(self, texts: Sequence[str], table: Table, weights: Table) -> Table:
        """Probabilities [n L] of the languages with words, by the detector [n L] and by words without the text's own share in
        their counts. weights [n L]: the probabilities by which the text was counted."""
        totals = np.maximum(self.counts.sum(0), 1)
        scores = np.log(table + FLOOR) + np.log(self.shares + FLOOR)
        for row, (text, own) in enumerate(zip(texts, weights)):
            at = [self._places[word] for word in _spoken(text) if word in self._places]
            counts = np.maximum(self.counts[at] - own, 0)
            counts = counts[counts.sum(1) > SEEN]  # a word of no other text says nothing
            anywhere = counts.sum(1, keepdims=True) / totals.sum()
            scores[row] += np.log(counts / totals + SMOOTHING * anywhere).sum(0)
        scores -= scores.max(1, keepdims=True)
        return _normalised(np.exp(scores))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {word: at for at, word in enumerate(self.words)}

    def to_json(self) -> str:
        """The languages as JSON; floats keep every bit."""
        lists = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()
                 if not name.startswith("_")}  # fmt: skip
        return json.dumps(lists)

    @classmethod
    def from_json(cls, text: str) -> SetLanguages:
        """The inverse of `to_json`."""
        known = json.loads(text)
        detected, shares, counts = (
            np.array(known[name], np.float64) for name in ("detected", "shares", "counts")
        )
        return cls(known["main"], detected, tuple(known["names"]), shares, tuple(known["words"]), counts)


def detect(texts: Sequence[str]) -> NDArray[np.float32]:
    """Probabilities [n D] of all languages of the detector, which expects them alike."""
    table = np.zeros((len(texts), len(_detector().labels)), np.float32)
    for row, text in enumerate(texts):
        table[row] = _chances(text[:START])
    table += FLOOR  # in place: of 20,000 texts each copy has 11 MB
    table /= table.sum(-1, keepdims=True)
    return table


def forget_texts() -> None:
    """Forget what the detector said of the last texts, which `detect` keeps since the texts of a small set are read twice."""
    _chances.cache_clear()


@lru_cache(maxsize=KEPT)
def _chances(text: str) -> NDArray[np.float32]:
    """The detector's probabilities [D] of a text."""
    chances = dict(_detector().rank(text))
    return np.array([chances[name] for name in _detector().labels], np.float32)


def _shares(table: NDArray[np.float32]) -> Table:
    """Shares [D] of the languages in texts of these probabilities [n D], by expectation maximisation. Sums without BLAS, whose
    last digits depend on the number of its threads."""
    shares = np.full(table.shape[1], 1 / table.shape[1])
    for _ in range(STEPS if len(table) else 0):
        expected = np.einsum("nd,d->n", table, shares, dtype=np.float64)
        shares = shares * np.einsum("nd,n->d", table, 1 / expected, dtype=np.float64) / len(table)
    return shares


@lru_cache(maxsize=1)
def _detector() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _spoken(text: str) -> list[str]:
    """The distinct words of a text."""
    return sorted(set(_WORD.findall(text[:START].lower())))


def _normalised(table: Table) -> Table:
    return table / np.maximum(table.sum(-1, keepdims=True), 1e-300)
