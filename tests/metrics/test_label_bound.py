"""Bounds from labels: closed forms, and their coverage."""

import numpy as np
import pytest

from pairloom.metrics import label_bound


def test_the_bound_of_a_proportion_by_hand():
    # no success in n trials: the bound solves (1 - p)^n = .1
    assert label_bound.binomial_upper(0, 50, 0.9) == pytest.approx(1 - 0.1 ** (1 / 50))
    assert label_bound.binomial_lower(50, 50, 0.9) == pytest.approx(0.1 ** (1 / 50))
    # one of two: (1 - p)^2 + 2 p (1 - p) = 1 - p^2 = .1
    assert label_bound.binomial_upper(1, 2, 0.9) == pytest.approx(np.sqrt(0.9))
    assert label_bound.binomial_upper(7, 7, 0.9) == label_bound.binomial_upper(0, 0, 0.9) == 1
    assert label_bound.binomial_lower(0, 7, 0.9) == 0
    with pytest.raises(ValueError, match="proportion"):
        label_bound.binomial_upper(3, 2, 0.9)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_the_bound_holds_as_often_as_it_says(share):
    counts = np.random.default_rng(0).binomial(50, share, 2000)
    held = [label_bound.binomial_upper(int(count), 50, 0.9) >= share for count in counts]
    assert np.mean(held) > 0.89


def test_most_good_by_hand():
    population = np.arange(10.0)
    bound = label_bound.most_good(
        np.array([0.0, 5.0, 10.0]), population, np.array([1.0, 7.0]), np.array([False, True]), 0.9
    )
    # nothing below 0; below 5 one label, bad: p <= .9; below 10 one of two is good: p <= sqrt(.9)
    assert bound == pytest.approx([0, 5 * 0.9, 10 * np.sqrt(0.9)])


def test_tests_stop_at_the_first_failure():
    assert label_bound.last_passed(np.array([True, True, False, True])) == 2
    assert label_bound.last_passed(np.array([False])) == 0 and label_bound.last_passed(np.ones(3, bool)) == 3


def test_the_threshold_of_labels_keeps_its_confidence():
    """400 pairs below the limit, 60 of them good, spread over all scores; a budget of 20 good pairs."""
    random = np.random.default_rng(0)
    population, over = np.arange(400.0), 0
    good = np.zeros(400, bool)
    good[random.permutation(400)[:60]] = True
    thresholds = np.arange(0, 401, 20.0)
    for _ in range(200):
        index = random.permutation(400)[:50]
        bound = label_bound.most_good(thresholds, population, population[index], good[index], 0.9)
        passed = label_bound.last_passed(bound <= 20)
        over += good[population < thresholds[passed - 1]].sum() > 20
    assert over / 200 < 0.1
