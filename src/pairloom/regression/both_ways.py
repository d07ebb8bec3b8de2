"""Ridge regressions from pictures to texts and back, for every view of the pictures, with the references of their scores.

The judge `self` and the model `ridge` are both fitted by this.

Does not know: files, texts, pixels, the weights of the directions.

N rows of training, G views, D features of a picture, E of a text, K folds, R references.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pairloom.regression.ridge import (
    LANDMARKS,
    Floats,
    Ridge,
    ScoreReferences,
    TwoWayRidge,
    choose_landmarks,
    choose_references,
    fit_ridge,
    unit,
)


@dataclass(frozen=True)
class Basis:
    """Numbers of the rows that regressions are built on (landmarks), and that scores of each fold are compared with: pictures
    of the fold, texts of all rows."""

    landmarks: NDArray[np.int64]
    pictures: tuple[NDArray[np.int64], ...]
    texts: tuple[NDArray[np.int64], ...]

    @classmethod
    def choose(
        cls,
        folds: NDArray[np.int64],
        landmarks: int,
        pictures: Sequence[int],
        texts: Sequence[int],
        most: int = LANDMARKS,
    ) -> Basis:
        """Choose from rows whose folds [N] these are. landmarks, pictures, texts are seeds: of the landmarks, and for each fold of
        the reference pictures and texts. most: greatest number of landmarks."""
        everything = np.arange(len(folds))
        inside = [np.flatnonzero(folds == fold) for fold in range(len(pictures))]
        return cls(
            choose_landmarks(len(folds), landmarks, most),
            tuple(
                choose_references(rows if len(rows) else everything, seed)
                for rows, seed in zip(inside, pictures)
            ),
            tuple(choose_references(everything, seed) for seed in texts),
        )


def fit_both_ways(
    views: Sequence[Floats],
    texts: Floats,
    folds: NDArray[np.int64],
    weights: NDArray[np.float64],
    basis: Basis,
    more: Sequence[NDArray[np.floating]] = (),
    whole: bool = True,
) -> tuple[tuple[TwoWayRidge, ...], tuple[Ridge, ...]]:
    """Both regressions between each view of the pictures, G x [N D], and the texts [N E]; then the regressions from each view to
    further tables of outputs. weights [N]: of the rows. whole: also on all rows, not only without each fold."""
    shown, count = unit(texts), len(basis.pictures)
    both, others = [], []
    back = fit_ridge(shown, views, folds, weights, count, basis.landmarks, whole)
    for view, to_picture in zip(views, back):
        to_text, *further = fit_ridge(view, [texts, *more], folds, weights, count, basis.landmarks, whole)
        references = tuple(
            ScoreReferences(view[rows], shown[spoken]) for rows, spoken in zip(basis.pictures, basis.texts)
        )
        both.append(TwoWayRidge(to_text, to_picture, references))
        others += further
    return tuple(both), tuple(others)
