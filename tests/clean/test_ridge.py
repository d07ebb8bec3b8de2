"""Kernel ridge regression without a fold, its contrastive scores, and the features that it compares."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import torch

from pairloom.clean.folds import GROUPS
from pairloom.clean.rows import plant
from pairloom.clean.stacking import match_weights
from pairloom.clean.training_table import FOLDS, TrainingTable
from pairloom.regression.both_ways import Basis, fit_both_ways
from pairloom.regression.features import FeatureSpace, apart, together
from pairloom.regression.lexicon import Lexicon
from pairloom.regression.logistic import positive_weights
from pairloom.regression.ridge import (
    GAMMA,
    PENALTY,
    TEMPERATURE,
    ScoreReferences,
    TwoWayRidge,
    choose_landmarks,
    fit_ridge,
)
from pairloom.regression.words import WordFeatures, words_of
from pairloom.towers.handmade import HandmadeFeatures


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def table(rows: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, outputs that depend on them, and folds."""
    draw = np.random.default_rng(0)
    inputs = unit(draw.standard_normal((rows, 5)))
    outputs = unit(np.tanh(inputs @ draw.standard_normal((5, 4))) + 0.1)
    return inputs, outputs, draw.integers(0, 3, rows)


def test_it_is_kernel_ridge_regression_on_the_other_folds() -> None:
    inputs, outputs, folds = table()
    (ridge,) = fit_ridge(inputs, [outputs], folds, np.ones(len(inputs)), 3, np.arange(len(inputs)))
    for fold in range(3):
        rest, here = folds != fold, folds == fold
        known, mean = inputs[rest].astype(np.float64), outputs[rest].mean(0)
        gram = np.exp(GAMMA * (known @ known.T - 1)) + PENALTY * np.eye(len(known))
        away = np.exp(GAMMA * (inputs[here] @ known.T - 1))
        by_hand = away @ np.linalg.solve(gram, outputs[rest] - mean)
        assert np.allclose(ridge.predict(inputs[here], fold).numpy(), unit(by_hand), atol=2e-3)
        assert np.allclose(ridge.centred(outputs[here], fold).numpy(), unit(outputs[here] - mean), atol=1e-5)


def test_rows_of_the_fold_and_masked_rows_are_not_learnt() -> None:
    inputs, outputs, folds = table()
    mask = np.ones(len(inputs))
    mask[::4] = 0
    changed = outputs.copy()
    changed[(folds == 1) | (mask == 0)] = 7
    first, second = (
        fit_ridge(inputs, [each], folds, mask, 3, np.arange(len(inputs)))[0] for each in (outputs, changed)
    )
    assert torch.equal(first.predict(inputs, 1), second.predict(inputs, 1))
    assert not torch.equal(first.predict(inputs, 0), second.predict(inputs, 0))


def test_a_prediction_does_not_depend_on_its_neighbours() -> None:
    inputs, outputs, folds = table(90)
    (ridge,) = fit_ridge(inputs, [outputs], folds, np.ones(90), 3, choose_landmarks(90, 0))
    assert torch.equal(ridge.predict(inputs, 0)[70:73], ridge.predict(inputs[70:73], 0))


def test_the_score_is_what_exceeds_the_references_of_both_sides() -> None:
    inputs, outputs, folds = table()
    ridges = [
        fit_ridge(one, [other], folds, np.ones(60), 3, np.arange(60))[0]
        for one, other in ((inputs, outputs), (outputs, inputs))
    ]
    references = ScoreReferences(inputs[:2], outputs[:3])
    both = TwoWayRidge(*ridges, (references,) * 3)
    scores, _ = both.scores(inputs[5:6], outputs[7:8], np.array([0]), 1)
    picture, texts = ridges[0].predict(inputs[5:6], 1).double(), ridges[0].centred(outputs[:8], 1).double()
    others = ridges[0].predict(inputs[:2], 1).double()
    of_picture = ((picture @ texts[:3].T) / TEMPERATURE).exp().mean().log()
    of_text = ((others @ texts[7]) / TEMPERATURE).exp().mean().log()
    by_hand = float(picture[0] @ texts[7] / TEMPERATURE - (of_picture + of_text) / 2)
    assert math.isclose(scores[0], by_hand, abs_tol=1e-4)


def test_a_part_that_says_nothing_has_no_weight() -> None:
    draw = np.random.default_rng(1)
    good, bad = draw.standard_normal((400, 2)) + [2.0, -0.5], draw.standard_normal((400, 2))
    weights = positive_weights(good, bad)
    assert weights[0] > 1 and weights[1] == 0
    assert positive_weights(-np.abs(good), np.abs(bad)).tolist() == [1.0, 1.0]


def test_words_of_every_script() -> None:
    assert words_of("A Red-ball, Öl!") == ["a", "red", "ball", "öl"]
    assert words_of("赤い球") == ["赤", "い", "球"]


def test_texts_with_the_same_words_are_near() -> None:
    texts = ["a red ball on grass", "a red ball in the sun", "two cats on grass", "two cats in the sun"] * 3
    features = WordFeatures.learn(texts)
    rows = unit(features(["a red ball", "red ball", "two cats", "unheard"])[:3])
    assert rows[0] @ rows[1] > 0.7 > rows[0] @ rows[2]
    assert not features(["unheard"]).any() and not features([""]).any()
    assert np.array_equal(features(texts)[3:5], features(texts[3:5]))


def test_hand_made_features_tell_colours_and_do_not_depend_on_the_batch() -> None:
    draw = np.random.default_rng(2)
    pixels = draw.integers(0, 255, (20, 32, 32, 3)).astype(np.uint8)
    pixels[0], pixels[1] = (250, 10, 10), (10, 10, 250)
    features = HandmadeFeatures.learn(pixels)
    rows = features(pixels)
    assert rows.shape == (20, sum(features.widths)) and np.isfinite(rows).all()
    assert np.array_equal(rows[17:19], features(pixels[17:19]))
    colours = rows[:2, : features.widths[0]]
    assert not (colours[0] * colours[1]).any()  # red and blue share no bin
    again = HandmadeFeatures.of(features.tensors())
    assert np.array_equal(again(pixels), rows)
    assert np.array_equal(
        features(pixels[:, :, ::-1]), rows
    )  # a sum of two terms does not depend on their order


def test_views_of_a_picture() -> None:
    assert together((5, 6, 7)) == ((5, 6, 7),) and apart((5, 6, 7)) == ((5,), (6,), (7,))
    assert together((5, 6, 7, 8)) == apart((5, 6, 7, 8)) == ((5, 6, 7), (8,))


def test_wrong_rows_count_less_in_training() -> None:
    pictures, texts, _ = table(300)
    wrong = np.arange(300) % 4 == 0
    texts = texts.copy()
    texts[wrong] = np.roll(texts[wrong], 1, axis=0)
    nothing = np.zeros(0, np.float32)
    space = FeatureSpace((), nothing, (), nothing, nothing, WordFeatures.learn([]))
    known = TrainingTable(
        space, Lexicon.learn([]), [pictures], texts, np.zeros((300, 0), np.float16), [], [], [""] * 300,
        np.arange(300) % GROUPS, {}, [],
    )  # fmt: skip
    basis = Basis.choose(known.folds, 0, range(FOLDS), range(FOLDS))
    ridges, _ = fit_both_ways([pictures], texts, known.folds, np.ones(300), basis, whole=False)
    weights = match_weights(known, ridges, 0)
    assert ((weights > 0) & (weights <= 1)).all()
    assert weights[~wrong].mean() > 0.8 > 0.4 > weights[wrong].mean()


def test_planted_texts_come_from_the_fold_of_their_picture() -> None:
    folds = {f"k{number}": number % 2 for number in range(6)}
    donors = [(key, f"text of {key}") for key in folds]
    part = pa.table(
        {
            "image_key": list(folds),
            "texts": [[text] for _, text in donors],
            "judged": [[0]] * len(donors),
        }
    )
    planted = list(plant(part, donors, 2, folds.__getitem__))
    assert len(planted) == 12
    for row, text in planted:
        assert folds[text.removeprefix("text of ")] == row % 2 and text != donors[row][1]
