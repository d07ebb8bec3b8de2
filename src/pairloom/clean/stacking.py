"""Stacked generalisation of the ridge judge's parts: a logistic regression of own pairs against planted mismatches weighs them.

Planted mismatches are drawn inside a fold: neither their picture nor their text was in the training of what scores them.

Source: Wolpert (1992). Does not know: how the parts were fitted, files, decisions.

N rows with texts, n of them, T texts of each, G views of a picture, K folds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pairloom.clean.rows import Rows
from pairloom.clean.trained_part import TrainedPart
from pairloom.clean.training_table import FOLDS, TrainingTable
from pairloom.data.pair import seed_of
from pairloom.regression.logistic import fit_logistic, positive_weights
from pairloom.regression.ridge import TwoWayRidge, choose_references, unit

# scores [T n] of n rows' pictures, each with T rows' texts [T n]: a picture is encoded once for all of them
RowScores = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]
SAMPLE = 8192  # rows that weights are taken from
CHUNK = 4096  # rows scored together
LOW, MOST = (
    0.2,
    0.6,
)  # the quantile of planted scores below which mismatches are counted, and their greatest share
LEAST = 1e-6  # weight of a row


@dataclass(frozen=True)
class PartScores:
    """Scores of P parts for rows of each fold: with their own texts, and with planted mismatches, K x [P n] each."""

    own: Sequence[NDArray[np.float64]]
    planted: Sequence[NDArray[np.float64]]

    def weights(self) -> NDArray[np.float64]:
        """Weights [K P] of the parts: for each fold logistic regression of own pairs against planted ones of the others."""
        weights = []
        for fold in range(FOLDS):
            rest = [other for other in range(FOLDS) if other != fold]
            good = np.concatenate([self.own[other] for other in rest], 1)
            bad = np.concatenate([self.planted[other] for other in rest], 1)
            weights.append(positive_weights(good.T, bad.T))
        return np.array(weights)


def score_parts(
    table: TrainingTable, ridges: tuple[TwoWayRidge, ...], seed: int, more: RowScores | None = None
) -> PartScores:
    """Scores of each view's two directions for a sample of the rows. more: those of a further part, which is the last."""
    own: list[NDArray[np.float64]] = []
    planted: list[NDArray[np.float64]] = []
    cells = table.folds if more is None else table.groups
    for fold in range(FOLDS):
        rows = np.flatnonzero(table.folds == fold)
        chosen = choose_references(rows, seed_of("combine", seed, fold), SAMPLE // FOLDS)
        other = chosen.copy()
        for cell in np.unique(
            cells[chosen]
        ):  # a planted text is of the same cell, whose texts no part has learnt
            inside = cells[chosen] == cell
            other[inside] = _others(
                chosen[inside], np.flatnonzero(cells == cell), seed_of("planted", seed, int(cell))
            )
        both = np.stack([chosen, other])
        parts = _parts(table, ridges, chosen, both, fold)
        if more is not None:
            parts = np.concatenate([parts, more(chosen, both)[:, None]], 1)
        own.append(parts[0])
        planted.append(parts[1])
    return PartScores(own, planted)


def match_weights(table: TrainingTable, ridges: tuple[TwoWayRidge, ...], seed: int) -> NDArray[np.float64]:
    """P(match) of every row with its texts [N], by which it counts in training.

    A logistic regression of the combined score says how much likelier it is for own texts than for planted ones. The share of
    mismatches is what own texts have below a low quantile of the planted ones, which is rather too much than too little.
    """
    parts = score_parts(table, ridges, seed)
    weights = parts.weights()
    own, planted = (
        np.concatenate([one @ each for one, each in zip(weights, some)])
        for some in (parts.own, parts.planted)
    )
    label = np.arange(len(own) + len(planted)) < len(own)
    slope, start = fit_logistic(np.concatenate([own, planted])[:, None], label.astype(np.float64))
    bad = min(MOST, float((own < np.quantile(planted, LOW)).mean()) / LOW)
    chances = np.zeros(len(table.keys))
    for fold in range(FOLDS):
        rows = np.flatnonzero(table.folds == fold)
        scores = weights[fold] @ _parts(table, ridges, rows, rows[None], fold)[0]
        chances[rows] = 1 - bad * np.exp(-np.clip(slope * scores + start, -30, 30))
    return np.clip(chances, LEAST, 1)


def trained_scores(rows: Rows, table: TrainingTable, trained: TrainedPart) -> RowScores:
    """Scores of the trained part for rows of the table: their pictures with texts of other rows."""
    source = WholeSet(rows)

    def scores(pictures: NDArray[np.int64], texts: NDArray[np.int64]) -> NDArray[np.float64]:
        shown = np.tile(pictures, len(texts))
        numbers = [table.rows[row] for row in shown.tolist()]
        wanted = [table.examples[row] for row in texts.ravel().tolist()]
        return trained.score(source, numbers, wanted, table.groups[shown]).reshape(texts.shape)

    return scores


def _parts(
    table: TrainingTable, ridges: tuple[TwoWayRidge, ...], pictures: NDArray[np.int64], texts: NDArray[np.int64], fold: int
) -> NDArray[np.float64]:  # fmt: skip
    """Scores [T 2G n] of n rows' pictures, each with T rows' texts [T n], by each view in both directions."""
    blocks = [np.zeros((len(texts), 2 * len(ridges), 0))]
    for start in range(0, len(pictures), CHUNK):
        rows, others = pictures[start : start + CHUNK], texts[:, start : start + CHUNK]
        words, owner = unit(table.texts[others.ravel()]), np.tile(np.arange(len(rows)), len(texts))
        scores = [ridge.scores(view[rows], words, owner, fold) for ridge, view in zip(ridges, table.pictures)]
        blocks.append(np.stack([each.reshape(others.shape) for both in scores for each in both], 1))
    return np.concatenate(blocks, 2)


@dataclass(frozen=True)
class WholeSet:
    """Picture source of an audited set: the audit's pixels, by row in the set."""

    rows: Rows

    def keys(self, rows: Sequence[int]) -> list[str]:
        keys = list(self.rows.column("image_key"))
        return [keys[row] for row in rows]

    def pixels(self, rows: Sequence[int], size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        return np.asarray(self.rows.pixels[list(rows)]), np.ones(len(rows), bool)

    def encoded(self, rows: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        raise NotImplementedError("the trained part reads pixels alone")


def _others(chosen: NDArray[np.int64], rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Another row of the same fold for each of the chosen ones."""
    if len(rows) < 2:
        return chosen
    steps = np.random.default_rng(seed).integers(1, len(rows), len(chosen))
    return rows[(np.searchsorted(rows, chosen) + steps) % len(rows)]
