"""Scores of rivals and noise: each formula against a value by hand."""

import math

import numpy as np
import pytest

from experiments.benchmarks.rivals import (
    Lemon,
    Neighbours,
    area_values,
    best_lemon,
    both_neighbours,
    neighbours_alone,
    noun_source,
    nouns,
    random_source,
    ridge_similarity,
)
from pairloom.metrics.calibrate import auroc
from pairloom.metrics.compare import difference

FOLDS = np.array([0, 1, 2])
# distances 1 - cosine of three pairs: pictures 0 and 1 are alike, texts 0 and 2
PICTURES = np.array([[0.0, 0.1, 0.9], [0.1, 0.0, 0.8], [0.9, 0.8, 0.0]])
TEXTS = np.array([[0.0, 0.7, 0.2], [0.7, 0.0, 0.6], [0.2, 0.6, 0.0]])
PAIR = np.array([0.4, 0.5, 0.3])


def sides(k: int, folds: np.ndarray = FOLDS) -> tuple[Neighbours, Neighbours]:
    return Neighbours.of(PICTURES, TEXTS, folds, k), Neighbours.of(TEXTS, PICTURES, folds, k)


def test_lemon_of_one_pair_by_hand() -> None:
    of_picture, of_text = sides(1)
    s_n = (
        0.7 * math.exp(-0.1 * 0.1) * math.exp(-5 * 0.5)
    )  # picture 1 is nearest; its text is .7 away, its own fit .5
    s_m = 0.9 * math.exp(-0.1 * 0.2) * math.exp(-5 * 0.3)  # text 2 is nearest; its picture is .9 away
    assert Lemon(k=1).score(of_picture, of_text, PAIR)[0] == pytest.approx(-(0.4 + 5 * s_n + 5 * s_m))
    alone = 0.7 * math.exp(-0.01) + 0.9 * math.exp(-0.02)
    assert neighbours_alone(of_picture, of_text)[0] == pytest.approx(-alone)


def test_a_term_is_the_mean_over_k_neighbours() -> None:
    of_picture, _ = sides(2)
    assert of_picture.rows.tolist() == [[1, 2], [0, 2], [1, 0]]
    assert of_picture.term(2, 0, 0, PAIR)[0] == pytest.approx((0.7 + 0.2) / 2)
    assert of_picture.term(1, 0, 0, PAIR)[0] == pytest.approx(0.7)


def test_neighbours_are_of_other_folds() -> None:
    of_picture, _ = sides(1, np.array([0, 0, 1]))
    assert of_picture.rows.tolist() == [[2], [2], [1]]


def test_the_settings_with_the_truth_are_at_least_as_good() -> None:
    draw = np.random.default_rng(0)
    pictures, texts = (
        draw.normal(size=(60, 5)).astype(np.float32),
        draw.normal(size=(60, 5)).astype(np.float32),
    )
    both, pair = both_neighbours(pictures, texts, np.arange(60) % 3, 50), draw.uniform(size=60)
    wrong = draw.random(60) < 0.4
    chosen, scores = best_lemon(*both, pair, wrong)
    assert scores == pytest.approx(chosen.score(*both, pair))
    assert auroc(scores[~wrong], scores[wrong]) >= auroc(-pair[~wrong], -pair[wrong])


def test_ridge_similarity_without_and_with_the_judged_pair() -> None:
    draw = np.random.default_rng(0)
    angles = draw.uniform(0, 2 * np.pi, 40)
    rows = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    texts = rows.copy()
    texts[3] = -rows[3]  # the one wrong pair
    folds = np.arange(40) % 5
    cross, inside = (ridge_similarity(rows, texts, folds, 0, cross) for cross in (True, False))
    assert cross.argmin() == inside.argmin() == 3
    assert cross[3] < inside[3]  # seen in training, it looks better


def test_area_values_average_to_the_auroc() -> None:
    scores, wrong = np.array([3.0, 1.0, 2.0, 0.0, 1.0]), np.array([False, False, False, True, True])
    values = area_values(scores, wrong)
    assert values.mean() == pytest.approx(auroc(scores[~wrong], scores[wrong])) == pytest.approx(5.5 / 6)
    assert difference(values, values).high == 0


def test_nouns_end_a_noun_phrase() -> None:
    texts = [
        "A large dog on the grass.",
        "the dog in a car",
        "a dog",
        "the dog",
        "an old dog is here",
        "a dog of the large dog",
    ]
    assert nouns(texts) == {"dog"}


def test_noise_gives_a_share_of_the_pairs_another_text() -> None:
    source = random_source(10, 0.4, (0, 1))
    assert (source != np.arange(10)).sum() == 4
    texts = ["a dog", "the dog runs", "a cat", "no noun", "a cat and a dog", "a bird"]
    for seed in range(20):
        drawn = noun_source(texts, {"dog", "cat", "bird"}, 0.5, (seed,))
        moved = np.flatnonzero(drawn != np.arange(6))
        assert len(moved) <= 3
        assert not {3, 5} & set(moved)  # no noun, and a noun that no other text has
        for row in moved:
            assert set(texts[row].split()) & set(texts[drawn[row]].split()) & {"dog", "cat"}
