"""Lexicon of a set: its frequent words, and for each the words of its class, which stand in the same places of other texts.

Classes are found from the texts alone, by the words before and after (distributional similarity, Harris 1954; positive pointwise
mutual information and a singular value decomposition as in Levy, Goldberg and Dagan 2015): colours are found beside colours, numbers
beside numbers, animals beside animals, in any language that the words are separated in. `edit` exchanges a word of a text for one
of its class, and `swap` two of its words for each other, which gives a text with one wrong detail.

Does not know: pictures, files.

V words, C words of a class.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pairloom.regression.words import word_spans, words_of

WORDS, LEAST = 1000, 4  # largest number of words, and the least number of texts that a word is in
CLASS, AXES = 30, 100  # words of a class, and features of a word by its neighbours
ALIKE = 0.2  # least likeness of words that could stand for each other


@dataclass(frozen=True)
class Lexicon:
    """Words by falling frequency, shares [V] of the texts that have them, classes [V C] (places of words, nearest first) and
    their likeness [V C], cosines above 0 or 0."""

    words: tuple[str, ...]
    shares: NDArray[np.float64]
    classes: NDArray[np.int64]
    likeness: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def places(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words)}

    @classmethod
    def learn(cls, texts: Sequence[str]) -> Lexicon:
        """Learn words and classes from texts."""
        spoken = [words_of(text) for text in texts]
        counts = Counter(word for words in spoken for word in set(words))
        ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
        words = tuple(word for word, count in ranked[:WORDS] if count >= LEAST)
        shares = np.array([counts[word] / len(texts) for word in words])
        classes, likeness = _classes({word: place for place, word in enumerate(words)}, spoken)
        return cls(words, shares, classes, likeness)

    def known(self, text: str) -> list[int]:
        """Places of the text's known words, each once, in the text's order."""
        return list(dict.fromkeys(self.places[word] for word in words_of(text) if word in self.places))

    def table(self, texts: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """Share [n V] of each row's texts that have each word."""
        table = np.zeros((len(texts), len(self)), np.float32)
        for row, group in enumerate(texts):
            for text in group:
                table[row, self.known(text)] += 1 / len(group)
        return table

    def edit(
        self, text: str, avoid: set[int], visible: NDArray[np.bool_], seed: int
    ) -> tuple[str, int] | None:
        """The text with one word exchanged for another of its class, drawn by frequency, and the place of the new word.

        visible [V]: words that may be exchanged, and given. avoid: places of words that are not given: those of all texts of the
        picture. None where no word can be exchanged. Singular and plural, and longer forms of a word, are not exchanged for each other.
        """
        random = np.random.default_rng(seed)
        spans = [
            span
            for span in word_spans(text)
            if (place := self.places.get(span[0])) is not None and visible[place]
        ]
        for number in random.permutation(len(spans)):
            word, start, stop = spans[number]
            near = self.classes[self.places[word]]
            allowed = [
                bool(visible[other]) and other not in avoid and not _forms(word, self.words[other])
                for other in near
            ]
            chance = self.shares[near] * self.likeness[self.places[word]] * np.array(allowed, bool)
            if chance.sum() > 0:
                new = int(near[random.choice(len(near), p=chance / chance.sum())])
                return text[:start] + self.words[new] + text[stop:], new
        return None

    def swap(self, text: str, visible: NDArray[np.bool_], seed: int) -> str | None:
        """The text with two of its words of one class in each other's place. visible [V]: words that may be moved. None where no
        two can be."""
        spans = [
            (place, *span)
            for span in word_spans(text)
            if (place := self.places.get(span[0])) is not None and visible[place]
        ]
        pairs = [
            (one, other)
            for at, one in enumerate(spans)
            for other in spans[at + 1 :]
            if other[0] in self.alike(one[0])
        ]
        if not pairs:
            return None
        (_, first, start, stop), (_, second, begin, end) = pairs[
            np.random.default_rng(seed).integers(len(pairs))
        ]
        return text[:start] + second + text[stop:begin] + first + text[end:]

    def alike(self, place: int) -> list[int]:
        """Places of the words of a word's class, without those that are hardly like it and those that are forms of it."""
        near = zip(self.classes[place].tolist(), self.likeness[place].tolist())
        word = self.words[place]
        return [other for other, likeness in near if likeness > ALIKE and not _forms(word, self.words[other])]

    def tensors(self) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
        """The arrays, to be saved; the words are saved as JSON beside them."""
        return {"shares": self.shares, "classes": self.classes, "likeness": self.likeness}

    @property
    def json(self) -> str:
        return json.dumps(self.words, ensure_ascii=False)

    @classmethod
    def of(cls, tensors: Mapping[str, NDArray[np.generic]], words: Sequence[str]) -> Lexicon:
        """The inverse of `tensors` and `json`."""
        shares, likeness = (np.asarray(tensors[name], np.float64) for name in ("shares", "likeness"))
        return cls(tuple(words), shares, np.asarray(tensors["classes"], np.int64), likeness)


def _forms(one: str, other: str) -> bool:
    """Whether one word is a form of the other: they differ in at most three letters at the end."""
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same]:
        same += 1
    return same >= 3 and max(len(one), len(other)) - same <= 3


def _classes(
    places: Mapping[str, int], spoken: Sequence[Sequence[str]]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Nearest words of every word by their neighbours in the texts, and the cosines: [V C], [V C]."""
    count = len(places)
    size = min(CLASS, max(0, count - 1))
    if not size:
        return np.zeros((count, 0), np.int64), np.zeros((count, 0))
    edge, other = count, count + 1
    table = np.zeros((count, 2 * (count + 2)))
    for words in spoken:
        line = [edge, *(places.get(word, other) for word in words), edge]
        for before, here, after in zip(line, line[1:], line[2:]):
            if here < count:
                table[here, before] += 1
                table[here, count + 2 + after] += 1
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / max(1.0, table.sum())
    surprise = np.log(np.maximum(table, 1e-9) / np.maximum(expected, 1e-9))
    values, vectors = np.linalg.eigh((gain := np.where(table > 0, np.maximum(surprise, 0), 0.0)) @ gain.T)
    features = vectors[:, -AXES:] * np.sqrt(np.maximum(values[-AXES:], 0))
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)
    cosines = features @ features.T
    np.fill_diagonal(cosines, -1)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :size]
    return nearest, np.maximum(np.take_along_axis(cosines, nearest, 1), 0)
