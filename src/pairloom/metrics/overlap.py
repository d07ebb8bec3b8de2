"""N-gram overlap: BLEU 1-4, ROUGE-L, CIDEr and CIDEr-D between captions and references, as coco-caption computes them.

The words of a text are separated by spaces (`words.tokenize`). Meaning does not count: a caption with one wrong colour
loses little. Every score is computed for the corpus and for each caption.

Sources: Papineni et al. 2002 (BLEU), Lin 2004 (ROUGE), Vedantam et al. 2015 (CIDEr). What coco-caption and every paper
since prints as "CIDEr" is CIDEr-D: `cider_d` here. `cider` is the plain one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pairloom.errors import Mistake

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
References = Sequence[Sequence[str]]
LONGEST = 4  # n-grams of 1 to 4 words, in BLEU and in CIDEr


@dataclass(frozen=True)
class Score:
    """Values of one metric: the corpus value, and each caption's own [n]. BLEU's corpus value is not the mean of its
    captions'."""

    value: float
    each: Floats


@dataclass(frozen=True)
class Bleu:
    """BLEU 1..4 as `scores`, and the counts of the corpus values: matched n-grams and all n-grams of the captions, words of
    the captions and of the closest references."""

    scores: tuple[Score, ...]
    correct: tuple[int, ...]
    guessed: tuple[int, ...]
    length: int
    wanted: int


# -- n-grams as numbers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Grams:
    """How often each n-gram occurs in each text, as rows (text, gram, count) sorted by text and gram; one n."""

    text: Ints
    gram: Ints
    count: Floats


@dataclass(frozen=True)
class _Table:
    """Captions [n] and their references [m] as n-gram counts. image [m]: the caption that a reference belongs to.

    names[n - 1](gram) spells an n-gram out.
    """

    captions: list[_Grams]
    references: list[_Grams]
    image: Ints
    caption_length: Ints
    reference_length: Ints
    names: list[Callable[[int], str]]


def _check(captions: Sequence[str], references: References) -> None:
    if len(captions) != len(references):
        raise ValueError(f"{len(captions)} captions and references for {len(references)}")
    if not captions or not all(len(group) and not isinstance(group, str) for group in references):
        raise ValueError("at least one caption is needed, and a list with a reference for each")


def _table(captions: Sequence[str], references: References) -> _Table:
    """Number the words, then number each n-gram as a pair (its first n - 1 words, its last word)."""
    _check(captions, references)
    split = [text.split() for text in captions] + [text.split() for group in references for text in group]
    known: dict[str, int] = {}
    words = np.array([known.setdefault(word, len(known)) for text in split for word in text], dtype=np.int64)
    length = np.array([len(text) for text in split], dtype=np.int64)
    text = np.repeat(np.arange(len(split)), length)
    spelled = list(known)
    names: list[Callable[[int], str]] = [lambda gram: spelled[gram]]
    grams, size, entries = words, len(known), []
    for n in range(1, LONGEST + 1):
        if n > 1:
            whole = text[:-1] == text[n - 1 :] if n == 2 else text[: 1 - n] == text[n - 1 :]
            keys = (grams[: len(whole)] * len(known) + words[n - 1 :])[whole]
            unique, index = np.unique(keys, return_inverse=True)
            names.append(_speller(names[-1], spelled, unique))
            grams = np.full(len(whole), -1)
            grams[whole] = index
            size = len(unique)
        valid = grams >= 0
        cells, count = np.unique(text[: len(grams)][valid] * max(size, 1) + grams[valid], return_counts=True)
        entries.append(_Grams(cells // max(size, 1), cells % max(size, 1), count.astype(np.float64)))
    cut = len(captions)
    image = np.repeat(np.arange(cut), [len(group) for group in references])
    parts = [_halves(entry, cut) for entry in entries]
    return _Table(
        [one for one, _ in parts], [two for _, two in parts], image, length[:cut], length[cut:], names
    )


def _speller(shorter: Callable[[int], str], spelled: list[str], keys: Ints) -> Callable[[int], str]:
    return lambda gram: (
        shorter(int(keys[gram]) // len(spelled)) + " " + spelled[int(keys[gram]) % len(spelled)]
    )


def _halves(grams: _Grams, cut: int) -> tuple[_Grams, _Grams]:
    at = int(np.searchsorted(grams.text, cut))
    return (
        _Grams(grams.text[:at], grams.gram[:at], grams.count[:at]),
        _Grams(grams.text[at:] - cut, grams.gram[at:], grams.count[at:]),
    )


def _lookup(text: Ints, gram: Ints, among: _Grams, values: Floats) -> Floats:
    """The value that each (text, gram) has in a table, 0 where it is missing."""
    size = int(max(gram.max(initial=0), among.gram.max(initial=0))) + 1
    keys, wanted = among.text * size + among.gram, text * size + gram
    at = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    return np.where(keys[at] == wanted, values[at], 0.0) if len(keys) else np.zeros(len(wanted))


def _sums(index: Ints, values: Floats, size: int) -> Floats:
    """Sum of the values at each index; numpy's own gives integers where there is nothing to sum."""
    return np.bincount(index, values, size).astype(np.float64)


# -- BLEU --------------------------------------------------------------------------------------------------------------


def bleu(captions: Sequence[str], references: References) -> Bleu:
    """BLEU 1 to 4 with the closest reference length (the shorter at a tie) and coco-caption's tiny smoothing."""
    table = _table(captions, references)
    lengths, wanted = table.caption_length, _closest(table)
    right = np.zeros((LONGEST, len(captions)))
    for n in range(LONGEST):
        mine, reference_counts = table.captions[n], table.references[n]
        cap = np.minimum(
            _lookup(table.image[reference_counts.text], reference_counts.gram, mine, mine.count),
            reference_counts.count,
        )
        # the largest clipped count over an image's references is what counts
        size = int(reference_counts.gram.max(initial=0)) + 1
        cells, index = np.unique(
            table.image[reference_counts.text] * size + reference_counts.gram, return_inverse=True
        )
        best = np.zeros(len(cells))
        np.maximum.at(best, index, cap)
        right[n] = _sums(cells // size, best, len(captions))
    guessed = np.maximum(lengths - np.arange(LONGEST)[:, None], 0)
    each = _bleu(right, guessed, lengths, wanted)
    whole = _bleu(
        right.sum(1, keepdims=True),
        guessed.sum(1, keepdims=True),
        lengths.sum(keepdims=True),
        wanted.sum(keepdims=True),
    )
    return Bleu(
        tuple(Score(float(whole[n, 0]), each[n]) for n in range(LONGEST)),
        tuple(int(count) for count in right.sum(1)),
        tuple(int(count) for count in guessed.sum(1)),
        int(lengths.sum()),
        int(wanted.sum()),
    )


def _closest(table: _Table) -> Ints:
    apart = np.abs(table.reference_length - table.caption_length[table.image])
    order = np.lexsort((table.reference_length, apart, table.image))
    first = np.searchsorted(table.image[order], np.arange(len(table.caption_length)))
    return table.reference_length[order][first]


def _bleu(right: Floats, guessed: Ints, lengths: Ints, wanted: Ints) -> Floats:
    """Geometric mean of the precisions times the brevity penalty: [4 n]."""
    tiny, small = 1e-15, 1e-9
    ratio = (lengths + tiny) / (wanted + small)
    penalty = np.where(ratio < 1, np.exp(np.minimum(1 - 1 / ratio, 0)), 1)
    logs = np.cumsum(np.log((right + tiny) / (guessed + small)), 0) / np.arange(1, LONGEST + 1)[:, None]
    return np.exp(logs) * penalty


# -- ROUGE-L -----------------------------------------------------------------------------------------------------------


def common(one: Sequence[str], two: Sequence[str]) -> int:
    """Length of the longest common subsequence, by bit arithmetic on whole machine words (Crochemore et al. 2001): O(len(two))
    steps."""
    where: dict[str, int] = {}
    for place, word in enumerate(one):
        where[word] = where.get(word, 0) | 1 << place
    full = (1 << len(one)) - 1
    row = full
    for word in two:
        matched = row & where.get(word, 0)
        row = ((row + matched) | (row - matched)) & full
    return len(one) - row.bit_count()


def rouge_l(captions: Sequence[str], references: References, beta: float = 1.2) -> Score:
    """ROUGE-L: the F score of the best precision and the best recall over references, with recall weighted by beta squared;
    mean over captions."""
    _check(captions, references)
    each = np.zeros(len(captions))
    for row, (caption, group) in enumerate(zip(captions, references)):
        candidate = caption.split()
        shared = [(common(candidate, wanted), len(wanted)) for wanted in (text.split() for text in group)]
        precision = max(same for same, _ in shared) / max(len(candidate), 1)
        recall = max(same / max(length, 1) for same, length in shared)
        if precision and recall:
            each[row] = (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
    return Score(float(each.mean()), each)


# -- CIDEr -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frequencies:
    """Document frequencies: in how many of `images` images an n-gram occurs in some reference. CIDEr values are comparable
    only with the same frequencies."""

    images: int
    counts: dict[str, int]

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(
            json.dumps({"images": self.images, "counts": self.counts}, ensure_ascii=False), encoding="utf-8"
        )

    @classmethod
    def load(cls, path: Path) -> Frequencies:
        """Read what `save` wrote. Mistake for any other file."""
        try:
            held = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(int(held["images"]), {str(gram): int(count) for gram, count in held["counts"].items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Mistake(
                f"{path} holds no document frequencies.", str(error), "Write the file with Frequencies.save."
            ) from error


def frequencies(references: References) -> Frequencies:
    """Document frequencies of references: in how many images each n-gram of 1 to 4 words occurs. Use one table for all test
    sets that are compared."""
    table = _table([""] * len(references), references)
    counts = {}
    for n in range(LONGEST):
        images = _images_with(table, n)
        counts.update({table.names[n](int(gram)): int(images[gram]) for gram in np.flatnonzero(images)})
    return Frequencies(len(references), counts)


def _images_with(table: _Table, n: int) -> Ints:
    references, mine = table.references[n], table.captions[n]
    size = int(max(references.gram.max(initial=-1), mine.gram.max(initial=-1))) + 1
    cells = np.unique(table.image[references.text] * max(size, 1) + references.gram)
    return np.bincount(cells % max(size, 1), minlength=size)


def cider(captions: Sequence[str], references: References, known: Frequencies | None = None) -> Score:
    """CIDEr: mean cosine of tf-idf n-gram vectors, n = 1..4, over references, times 10 (no stemming, as coco-caption).

    known: document frequencies; None counts them in these references, as is customary, and then needs two images or more.
    """
    return _cider(captions, references, known, None)


def cider_d(
    captions: Sequence[str], references: References, known: Frequencies | None = None, sigma: float = 6.0
) -> Score:
    """CIDEr-D: CIDEr with counts clipped to the reference's, and a Gaussian penalty on the difference in length. See
    `cider`."""
    return _cider(captions, references, known, sigma)


def _cider(
    captions: Sequence[str], references: References, known: Frequencies | None, sigma: float | None
) -> Score:
    table = _table(captions, references)
    images = known.images if known else len(references)
    if images < 2:
        raise ValueError(
            "CIDEr weighs words by how many images share them: it needs two images, or `known` frequencies"
        )
    total = np.zeros(len(table.image))
    for n in range(LONGEST):
        mine, reference_counts = table.captions[n], table.references[n]
        weight = math.log(images) - np.log(np.maximum(_documents(table, n, known), 1))
        one, two = mine.count * weight[mine.gram], reference_counts.count * weight[reference_counts.gram]
        shared = _lookup(table.image[reference_counts.text], reference_counts.gram, mine, one)
        product = _sums(
            reference_counts.text, (np.minimum(shared, two) if sigma else shared) * two, len(table.image)
        )
        norm_one = np.sqrt(_sums(mine.text, one**2, len(captions)))[table.image]
        norm_two = np.sqrt(_sums(reference_counts.text, two**2, len(table.image)))
        norm = norm_one * norm_two
        total += np.divide(product, norm, out=np.zeros_like(product), where=norm > 0)
    if sigma:
        # coco-caption measures length in bigrams, so that a text of no word is as long as one of one word
        apart = np.maximum(table.caption_length - 1, 0)[table.image] - np.maximum(
            table.reference_length - 1, 0
        )
        total *= np.exp(-(apart**2) / (2 * sigma**2))
    each = 10 * np.bincount(table.image, total) / np.bincount(table.image) / LONGEST
    return Score(float(each.mean()), each)


def _documents(table: _Table, n: int, known: Frequencies | None) -> Floats:
    images = _images_with(table, n).astype(np.float64)
    if known is None:
        return images
    return np.array(
        [known.counts.get(table.names[n](gram), 0) for gram in range(len(images))], dtype=np.float64
    )
