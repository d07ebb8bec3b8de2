"""The space that pictures and texts share: its cosines are the combined contrastive scores of all directions."""

from __future__ import annotations

import numpy as np
import torch

from pairloom.regression.joint import BIAS, JointSpace
from pairloom.regression.ridge import GAMMA, PENALTY, TEMPERATURE, ScoreReferences, TwoWayRidge, fit_ridge
from pairloom.regression.stored import ridge_tensors, ridges_in

FOLDS = 3


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def pairs() -> tuple[list[np.ndarray], np.ndarray, tuple[TwoWayRidge, ...]]:
    """Two views of 40 pictures, their texts, and the regressions between them."""
    draw = np.random.default_rng(0)
    views = [unit(draw.standard_normal((40, width))) for width in (5, 6)]
    texts = unit(np.tanh(views[0] @ draw.standard_normal((5, 4))) + 0.1)
    folds, weights, everything = draw.integers(0, FOLDS, 40), np.ones(40), np.arange(40)
    ridges = []
    for view in views:
        both = [
            fit_ridge(one, [other], folds, weights, FOLDS, everything)[0]
            for one, other in ((view, texts), (texts, view))
        ]
        references = tuple(
            ScoreReferences(view[fold : fold + 4], texts[fold : fold + 5]) for fold in range(FOLDS)
        )
        ridges.append(TwoWayRidge(both[0], both[1], references))
    return views, texts, tuple(ridges)


def prediction(inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Kernel ridge regression on all rows, of length 1."""
    gram = np.exp(GAMMA * (inputs.astype(np.float64) @ inputs.T - 1))
    coefficients = np.linalg.solve(gram + PENALTY * np.eye(len(inputs)), outputs - outputs.mean(0))
    return unit(gram @ coefficients)


def test_a_cosine_is_the_weighted_score_of_all_directions_less_both_biases() -> None:
    views, texts, ridges = pairs()
    shares = (0.5, 0.2, 0.0, 0.3)
    space = JointSpace(ridges, shares)
    cosines = (space.pictures(views) @ space.texts(texts).T).numpy()
    by_hand = np.zeros((40, 40))
    words = np.concatenate([np.arange(fold, fold + 5) for fold in range(FOLDS)])
    shown = np.concatenate([np.arange(fold, fold + 4) for fold in range(FOLDS)])
    for view, first in zip(views, (0, 2)):
        spaces = (
            (prediction(view, texts), unit(texts - texts.mean(0))),
            (unit(view - view.mean(0)), prediction(texts, view)),
        )
        for share, (pictures, sentences) in zip(shares[first : first + 2], spaces):
            table = pictures.astype(np.float64) @ sentences.T
            for axis, others in ((1, table[:, words]), (0, table[shown])):
                mean = np.log(np.exp(others / TEMPERATURE).mean(axis, keepdims=True))
                table = table - BIAS * TEMPERATURE * mean
            by_hand += share * table
    assert np.allclose(cosines, by_hand / 3, atol=2e-3)


def test_vectors_have_length_1_whatever_is_embedded() -> None:
    views, texts, ridges = pairs()
    space = JointSpace(ridges, (0.25,) * 4)
    nothing = np.zeros_like(texts[:1])
    for vectors in (space.pictures(views), space.texts(texts), space.texts(nothing)):
        assert vectors.shape[1] == space.width
        assert torch.allclose(vectors.norm(dim=1), torch.ones(len(vectors)), atol=1e-5)


def test_a_direction_without_a_share_takes_no_room() -> None:
    views, _, ridges = pairs()
    assert JointSpace(ridges, (0.5, 0.5, 0.0, 0.0)).width == 4 + 5 + 4
    assert JointSpace(ridges, (1.0, 0.0, 0.0, 0.0)).pictures(views).shape == (40, 4 + 4)


def test_a_vector_does_not_depend_on_its_neighbours() -> None:
    views, texts, ridges = pairs()
    space = JointSpace(ridges, (0.25,) * 4)
    assert torch.allclose(space.texts(texts)[7:9], space.texts(texts[7:9]), atol=1e-6)
    some = space.pictures([view[7:9] for view in views])
    assert torch.allclose(space.pictures(views)[7:9], some, atol=1e-6)


def test_stored_regressions_are_the_same() -> None:
    views, texts, ridges = pairs()
    again = ridges_in(ridge_tensors(ridges), 2)
    shares = (0.4, 0.3, 0.2, 0.1)
    assert torch.equal(JointSpace(again, shares).texts(texts), JointSpace(ridges, shares).texts(texts))
    assert [len(both.references) for both in again] == [FOLDS, FOLDS]
