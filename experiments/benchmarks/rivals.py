"""Rival scores for wrong captions, on features that all of them share, and the noise that they are compared on.

LEMoN (Zhang and others, ICML 2025, arXiv 2407.18941), from its formulas: a pair (x, y) is the more suspect the larger

    d_mm(x, y) + beta s_n + gamma s_m
    s_n = mean over the k nearest pictures x_j of d(y, y_j) exp(-tau1 d(x, x_j)) exp(-tau2 d_mm(x_j, y_j))
    s_m = mean over the k nearest texts y_j of d(x, x_j) exp(-tau1 d(y, y_j)) exp(-tau2 d_mm(x_j, y_j))

where d is 1 - cosine. Without labels for choosing them, the paper fixes k = 30, beta = gamma = 5, tau1 = .1, tau2 = 5.

The published code has minus the cosine for d(x, x_j) in the first weight, which multiplies the terms by exp(tau1), 1.1.

Every score here is higher for a pair that fits. n pairs, D features of a picture, E of a text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from pairloom.metrics.calibrate import auroc
from pairloom.regression.ridge import choose_landmarks, fit_ridge
from pairloom.regression.words import words_of

Floats = NDArray[np.float64]
ARTICLES = {"a", "an", "the"}
FUNCTION_WORDS = set(
    "of in on at by with from to into onto over under near next behind beside between around through across inside outside "
    "along against above below for and or but while as that which who is are was were has have being".split()
)
LEAST = 4  # texts that a word must be a noun in
MOST = 50  # neighbours
GRID = (
    (0, 1, 2, 5, 10, 20, 50, 100),
    (0, 1, 5, 10),
    (1, 2, 5, 10, 15, 20, 30, MOST),
)  # weights, taus and k to choose from


# -- noise -------------------------------------------------------------------------------------------------------------


def nouns(texts: Sequence[str]) -> set[str]:
    """Words that stand between an article and a function word, or the end of the text, in at least LEAST texts: the heads of
    short noun phrases, "dog" of "a dog on", but not "large" of "a large dog"."""
    counts = Counter[str]()
    for text in texts:
        line = [*words_of(text), "of"]
        heads = {
            here
            for before, here, after in zip(line, line[1:], line[2:])
            if before in ARTICLES and after in FUNCTION_WORDS
        }
        counts.update(heads - FUNCTION_WORDS - ARTICLES)
    return {word for word, count in counts.items() if count >= LEAST}


def random_source(count: int, share: float, seed: Sequence[int]) -> NDArray[np.int64]:
    """The pair whose text each pair gets [n]: for a share of them, another one that is drawn evenly."""
    draw = np.random.default_rng(seed)
    source = np.arange(count)
    for row in draw.permutation(count)[: int(share * count)]:
        source[row] = (row + draw.integers(1, count)) % count
    return source


def noun_source(
    texts: Sequence[str], known: set[str], share: float, seed: Sequence[int]
) -> NDArray[np.int64]:
    """As `random_source`, with a text that shares a noun: one of the text's known nouns is drawn, then another text that has it."""
    draw = np.random.default_rng(seed)
    having: dict[str, list[int]] = {}
    mine = [sorted(set(words_of(text)) & known) for text in texts]
    for row, words in enumerate(mine):
        for word in words:
            having.setdefault(word, []).append(row)
    source = np.arange(len(texts))
    able = [row for row, words in enumerate(mine) if words]
    for row in draw.permutation(able)[: int(share * len(texts))]:
        word = mine[row][draw.integers(len(mine[row]))]
        others = [other for other in having[word] if other != row]
        if others:
            source[row] = others[draw.integers(len(others))]
    return source


# -- scores ------------------------------------------------------------------------------------------------------------


def unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)).astype(np.float32)


def ridge_similarity(
    pictures: NDArray[np.float32],
    texts: NDArray[np.float32],
    folds: NDArray[np.int64],
    seed: int,
    cross: bool,
) -> Floats:
    """Cosine [n] of each text, without the mean of all, with what a kernel ridge regression predicts from its picture: the one
    that was solved without the pair's fold, or (cross False) on all pairs, this one among them."""
    count = int(folds.max()) + 1
    landmarks = choose_landmarks(len(texts), seed)
    (ridge,) = fit_ridge(pictures, [texts], folds, np.ones(len(texts)), count, landmarks)
    scores = np.zeros(len(texts))
    for fold in range(count):
        rows = np.flatnonzero(folds == fold)
        used = fold if cross else count
        predicted, there = ridge.predict(pictures[rows], used), ridge.centred(texts[rows], used)
        scores[rows] = (predicted * there).sum(1).double().numpy()
    return scores


@dataclass(frozen=True)
class Neighbours:
    """The nearest rows of other folds of every row [n k], nearest first, with their distances on that side and on the other."""

    rows: NDArray[np.int64]
    near: Floats
    other: Floats

    @classmethod
    def of(cls, near: Floats, other: Floats, folds: NDArray[np.int64], k: int) -> Neighbours:
        """From the distances [n n] that neighbours are chosen by, and those of the other side."""
        hidden = np.where(folds[:, None] == folds, np.inf, near)
        rows = np.argsort(hidden, axis=1, kind="stable")[:, :k]
        return cls(rows, np.take_along_axis(near, rows, 1), np.take_along_axis(other, rows, 1))

    def term(self, k: int, tau1: float, tau2: float, pair: Floats) -> Floats:
        """s_n, or s_m [n], by the k nearest. pair [n]: distance of picture and text of every pair."""
        weight = np.exp(-tau1 * self.near[:, :k] - tau2 * pair[self.rows[:, :k]])
        return (self.other[:, :k] * weight).mean(1)


def both_neighbours(
    pictures: NDArray[np.float32], texts: NDArray[np.float32], folds: NDArray[np.int64], k: int
) -> tuple[Neighbours, Neighbours]:
    """Neighbours of every pair's picture [n D], and of its text [n E]."""
    near, alike = distances(pictures), distances(texts)
    return Neighbours.of(near, alike, folds, k), Neighbours.of(alike, near, folds, k)


def distances(rows: NDArray[np.float32]) -> Floats:
    """1 - cosine [n n] of rows."""
    table = unit(rows)
    return 1 - (table @ table.T).astype(np.float64)


@dataclass(frozen=True)
class Lemon:
    """Settings of LEMoN; the defaults are those of the paper where no labelled validation set chooses them."""

    k: int = 30
    beta: float = 5.0
    gamma: float = 5.0
    tau1: float = 0.1
    tau2: float = 5.0

    def score(self, of_picture: Neighbours, of_text: Neighbours, pair: Floats) -> Floats:
        s_n, s_m = (side.term(self.k, self.tau1, self.tau2, pair) for side in (of_picture, of_text))
        return -(pair + self.beta * s_n + self.gamma * s_m)


def neighbours_alone(of_picture: Neighbours, of_text: Neighbours) -> Floats:
    """LEMoN's two neighbour terms, of equal weight, without what needs a space that pictures and texts share (tau2 = 0)."""
    alone, settings = np.zeros(len(of_picture.rows)), Lemon()
    s_n, s_m = (side.term(settings.k, settings.tau1, 0.0, alone) for side in (of_picture, of_text))
    return -(s_n + s_m)


def best_lemon(
    of_picture: Neighbours, of_text: Neighbours, pair: Floats, wrong: NDArray[np.bool_]
) -> tuple[Lemon, Floats]:
    """The settings of a grid that give the highest AUROC against the truth, and their scores [n]: an upper bound of LEMoN with a
    labelled validation set."""
    weights, taus, sizes = GRID
    best, chosen, scores = -1.0, Lemon(), -pair
    for k, tau1, tau2 in product(sizes, taus, taus):
        s_n, s_m = (side.term(k, tau1, tau2, pair) for side in (of_picture, of_text))
        for beta, gamma in product(weights, weights):
            values = -(pair + beta * s_n + gamma * s_m)
            if (area := auroc(values[~wrong], values[wrong])) > best:
                best, chosen, scores = area, Lemon(k, beta, gamma, tau1, tau2), values
    return chosen, scores


# -- measures ----------------------------------------------------------------------------------------------------------


def area_values(scores: Floats, wrong: NDArray[np.bool_]) -> Floats:
    """Values [n] whose mean is the AUROC, and whose resampling gives its variance to first order: DeLong's placements, each
    group's with its own weight. A bootstrap of their means is one over pairs, right and wrong."""
    good, bad = scores[~wrong], scores[wrong]
    area, count = auroc(good, bad), len(scores)
    values = np.zeros(count)
    values[~wrong] = area + count / len(good) * (_above(good, bad) - area)
    values[wrong] = area + count / len(bad) * (1 - _above(bad, good) - area)
    return values


def _above(values: Floats, others: Floats) -> Floats:
    """Share of the others that each value exceeds, ties half [n]."""
    ordered = np.sort(others)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / (
        2 * len(others)
    )
