"""Fitting of a ridge model to pairs whose raw features are in memory, with its cross-validated retrieval.

Does not know: files, pixels, towers beyond their raw features.

M pictures, N texts, P directions, K folds, n rows of a fold that are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pairloom.regression.both_ways import Basis, fit_both_ways
from pairloom.regression.features import Encoders, FeatureSpace, Raw, mean_texts, together
from pairloom.regression.joint import BIAS, JointSpace, picture_vectors, text_vectors
from pairloom.regression.ridge import (
    TEMPERATURE,
    Floats,
    TwoWayRidge,
    choose_references,
    log_mean_exp,
)
from pairloom.runtime.threads import one_thread

FOLDS, COMPARED = 5, 512  # folds, and most rows of a fold whose pictures and texts are compared
STEPS, START = 100, -1.0  # of the optimiser of the weights, and the logarithm that they begin with
LEAST = 0.01  # share of the weight below which a direction is left out


@dataclass(frozen=True)
class FittedRidge:
    """A fitted model: its features and its space. metrics: of retrieval among at most COMPARED pictures that were left out,
    one text of each, averaged over the folds."""

    space: FeatureSpace
    joint: JointSpace
    metrics: dict[str, float]


@dataclass(frozen=True)
class PairFeatures:
    """Raw features of M pictures, of the N distinct texts in this order, and the texts of each picture. ids [M]: equal for
    equal pictures."""

    encoders: Encoders
    pictures: Raw
    texts: Sequence[str]
    sentences: Raw
    of_picture: Sequence[Sequence[str]]
    ids: NDArray[np.int64]


def fit_model(pairs: PairFeatures, seed: int = 0) -> FittedRidge:
    """Learn the space, solve the regressions without each fold and on all rows, and weigh the directions by what they retrieve
    in the folds that they have not seen."""
    with one_thread():
        kinds = together(pairs.encoders.widths)
        space = FeatureSpace.learn(kinds, pairs.pictures, pairs.texts, pairs.sentences, seed)
        views, features = space.pictures(pairs.pictures), space.texts(pairs.texts, pairs.sentences)
        folds = np.random.default_rng(seed).integers(0, FOLDS, int(pairs.ids.max()) + 1)[pairs.ids]
        basis = Basis.choose(folds, seed, [seed] * FOLDS, [seed + fold for fold in range(FOLDS)])
        means = mean_texts(features, pairs.texts, pairs.of_picture)
        ridges, _ = fit_both_ways(views, means, folds, np.ones(len(folds)), basis)
        place = {text: at for at, text in enumerate(pairs.texts)}
        first = np.array([place[texts[0]] for texts in pairs.of_picture])
        tables = []
        for fold in range(FOLDS):
            rows = choose_references(np.flatnonzero(folds == fold), seed, COMPARED)
            if len(rows) > 1:
                tables.append(_tables(ridges, [view[rows] for view in views], features[first[rows]], fold))
        weights = _weights(tables)
    total = weights.sum()
    return FittedRidge(space, JointSpace(ridges, tuple((weights / total).tolist())), _recall(tables, weights))


def _tables(ridges: tuple[TwoWayRidge, ...], views: Sequence[Floats], texts: Floats, fold: int) -> Tensor:
    """Contrastive scores [P n n] of n pictures with n texts of a fold, by each direction."""
    shown = picture_vectors(ridges, views, fold), text_vectors(ridges, texts, fold)
    references = [ridge.references[fold] for ridge in ridges]
    known = (
        picture_vectors(ridges, [each.pictures for each in references], fold),
        text_vectors(ridges, references[0].texts, fold),
    )
    tables = [
        pictures @ words.T / TEMPERATURE
        - BIAS * (log_mean_exp(pictures, other_words)[:, None] + log_mean_exp(words, other_pictures))
        for pictures, words, other_pictures, other_words in zip(*shown, *known)
    ]
    return torch.stack(tables)


def _weights(tables: Sequence[Tensor]) -> NDArray[np.float64]:
    """Weights [P] above 0 of the directions, by symmetric cross-entropy of every picture with its own text among all of its
    fold; those below LEAST of all are 0."""
    logarithms = torch.full((len(tables[0]),), START, requires_grad=True)
    optimiser = torch.optim.LBFGS([logarithms], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        losses = []
        for table in tables:
            scores = (logarithms.exp()[:, None, None] * table).sum(0)
            losses += [-scores.log_softmax(axis).diagonal().mean() for axis in (0, 1)]
        total = torch.stack(losses).mean()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(loss)
    weights = logarithms.detach().exp().double().numpy()
    return np.where(weights < LEAST * weights.sum(), 0.0, weights)


def _recall(tables: Sequence[Tensor], weights: NDArray[np.float64]) -> dict[str, float]:
    """R@1 and R@10 in both directions, averaged over the folds."""
    rows: dict[str, list[float]] = {}
    for table in tables:
        scores = np.tensordot(weights, table.double().numpy(), 1)
        for name, values in (("text to image", scores.T), ("image to text", scores)):
            better = (values > np.diagonal(values)[:, None]).sum(1)
            for most in (1, 10):
                rows.setdefault(f"{name} R@{most}", []).append(float((better < most).mean()))
    return {name: float(np.mean(values)) for name, values in rows.items()}
