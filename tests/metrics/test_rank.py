"""Ranks, choices: by hand, and ties against the mean over all ways to break them."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairloom.metrics import choice, rank

SCORES = np.array([[0.9, 0.1, 0.5], [0.2, 0.3, 0.4], [0.1, 0.9, 0.2]])


def test_by_hand():
    made = rank.ranks(SCORES, [0, 1, 0])  # places 1, 2, 3
    assert made.places().tolist() == [1, 2, 3]
    report = rank.retrieval(made, at=(1, 2, 3))
    assert report == pytest.approx(
        {"R@1": 1 / 3, "R@2": 2 / 3, "R@3": 1, "median": 2, "MRR": (1 + 1 / 2 + 1 / 3) / 3}
    )


def test_a_blind_scorer_gets_chance():
    made = rank.ranks(np.zeros((4, 10)), np.arange(4))
    assert (
        made.hits(1) == pytest.approx(0.1)
        and made.hits(5) == pytest.approx(0.5)
        and made.hits(10) == pytest.approx(1)
    )
    assert made.places() == pytest.approx(5.5)
    assert made.reciprocals() == pytest.approx(np.mean(1 / np.arange(1, 11)))
    assert choice.credit(np.zeros((6, 4)), np.arange(6) % 4) == pytest.approx(0.25)


def brute(row, right):
    """Mean over every order of the candidates that sorts the scores."""
    orders = [o for o in permutations(range(len(row))) if all(row[a] >= row[b] for a, b in zip(o, o[1:]))]
    first = np.array([min(place for place, c in enumerate(o, 1) if right[c]) for o in orders])
    return first.mean(), (1 / first).mean(), [(first <= k).mean() for k in range(1, len(row) + 1)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6))
def test_ties_are_the_mean_over_all_orders(row):
    scores, right = [s for s, _ in row], [r for _, r in row]
    right[0] = True
    made = rank.ranks([scores], [right])
    place, reciprocal, hits = brute(scores, right)
    assert made.places()[0] == pytest.approx(place)
    assert made.reciprocals()[0] == pytest.approx(reciprocal)
    assert [made.hits(k)[0] for k in range(1, len(row) + 1)] == pytest.approx(hits)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_laws(seed):
    random = np.random.default_rng(seed)
    scores, truth = random.integers(0, 5, (7, 9)).astype(float), random.integers(0, 9, 7)
    made = rank.ranks(scores, truth, rows=3)
    hits = np.stack([made.hits(k) for k in range(1, 10)])
    assert (np.diff(hits, axis=0) >= -1e-12).all() and hits[-1] == pytest.approx(1)  # rises in K up to 1
    again = rank.ranks(np.exp(scores) - 3, truth)  # only the order counts
    assert again.places() == pytest.approx(made.places())
    mixed = random.permutation(9)
    assert rank.ranks(scores[:, mixed], np.argsort(mixed)[truth]).places() == pytest.approx(made.places())
    assert (scores.shape[1] == 9) and choice.credit(scores, truth) == pytest.approx(made.hits(1))


def test_choice_by_hand():
    assert choice.credit([[3, 1], [1, 1], [0, 2]], [0, 0, 0]).tolist() == [1, 0.5, 0]
    assert choice.beats([2, 2, 2], [1, 2, 3]).tolist() == [1, 0.5, 0]


def test_misuse():
    for scores, truth in (
        ([1, 2], [0]),
        (SCORES, [0, 1]),
        (SCORES, [0, 1, 3]),
        (SCORES, np.zeros((3, 3), bool)),
    ):
        with pytest.raises(ValueError):
            rank.ranks(scores, truth)
    with pytest.raises(ValueError, match="not a number"):
        rank.ranks([[np.nan, 1]], [0])
    with pytest.raises(ValueError, match="not a number"):
        choice.credit([[np.nan, 1]], [0])
    with pytest.raises(ValueError, match="no query"):
        rank.retrieval(rank.ranks(np.zeros((0, 3)), np.zeros(0, int)))
