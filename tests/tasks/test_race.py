"""The race: how often it is wrong, what it saves, and that it asks what it says it asks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pairloom.tasks.race import Decision, looks, race, spread, student_tail


def bank(seed: int, races: int, candidates: int, rounds: int, gap: float, shape: str) -> np.ndarray:
    """Scores [races candidates rounds]: noise that all candidates of a round share, own noise, and true worths."""
    random = np.random.default_rng(seed)
    worth = random.normal(0, gap, (races, candidates, 1))
    shared = random.normal(0, 3, (races, 1, rounds))
    if shape == "normal":
        own = random.normal(0, 1, (races, candidates, rounds))
    else:  # as diffusion's: another scale at every time, other scales in every race
        times = np.linspace(0, 1, rounds)[spread(rounds)]
        own = random.normal(0, 1, (races, candidates, rounds)) * (0.2 + 2 * times**2)
        own *= random.lognormal(0, 0.3, (races, 1, 1))
        # and a lead that is larger at some times than at others
        worth = worth * (0.2 + 1.6 * np.exp(-(((times - 0.5) / 0.2) ** 2)))
    return worth + shared + own


def settle(table: np.ndarray, **options: Any) -> tuple[list[Decision], int]:
    asked = 0

    def ask(at: int, jobs: list[tuple[int, int]]) -> np.ndarray:
        nonlocal asked
        asked += len(jobs)
        return np.array([table[number, candidate, at] for number, candidate in jobs])

    made = race(ask, [table.shape[1]] * len(table), table.shape[2], **options)
    return made, asked


@pytest.mark.parametrize("shape", ["normal", "times"])
@pytest.mark.parametrize("candidates", [2, 6])
@pytest.mark.parametrize("line", [False, True])
def test_the_stated_error_holds(shape: str, candidates: int, line: bool) -> None:
    """120 decisions, most of them close: the share that all rounds would have made otherwise stays under delta."""
    table = bank(5, 120, candidates, 64, 0.3, shape)
    full = table.mean(2).argmax(1)
    for delta in (0.1, 0.01):
        made, asked = settle(table, delta=delta, places=spread(64) if line else None)
        wrong = np.mean([one.winner != best for one, best in zip(made, full)])
        assert wrong <= delta
        assert asked == sum(one.rounds.sum() for one in made) < table.size
        assert all(one.risk <= delta for one in made)


def test_it_saves_where_the_decision_is_clear() -> None:
    table = bank(7, 60, 10, 245, 3.0, "normal")
    made, asked = settle(table, delta=0.005)
    assert table.size / asked > 10
    assert np.mean([one.winner for one in made] == table.mean(2).argmax(1)) >= 0.995


def test_without_delta_all_rounds_are_run() -> None:
    table = bank(3, 20, 4, 16, 0.1, "normal")
    made, asked = settle(table, delta=0.0)
    assert asked == table.size and [one.winner for one in made] == table.mean(2).argmax(1).tolist()
    assert all(one.risk == 0 and not one.ties for one in made)
    np.testing.assert_allclose([one.scores for one in made], table.mean(2))


def test_shared_noise_costs_nothing() -> None:
    """What all candidates of a round have in common cannot matter."""
    table = bank(11, 50, 5, 64, 0.5, "normal")
    noisy = table + np.random.default_rng(1).normal(0, 1000, (50, 1, 64))
    one, other = settle(table), settle(noisy)
    assert one[1] == other[1] and [a.winner for a in one[0]] == [b.winner for b in other[0]]


def test_the_order_of_candidates_does_not_matter() -> None:
    table = bank(13, 50, 6, 64, 0.5, "normal")
    turn = np.random.default_rng(2).permutation(6)
    here, there = settle(table)[0], settle(table[:, turn])[0]
    assert [one.winner for one in here] == [turn[one.winner] for one in there]


def test_equal_candidates_tie() -> None:
    table = bank(17, 3, 3, 32, 1.0, "normal")
    table[:, 2] = table[:, 1] = table[:, 1] + 50
    made, _ = settle(table)
    assert [(one.winner, one.ties) for one in made] == [(1, (1, 2))] * 3


def test_one_candidate_needs_one_round() -> None:
    made, asked = settle(np.ones((2, 1, 9)))
    assert asked == 2 and [one.winner for one in made] == [0, 0]


def test_spread() -> None:
    assert spread(8) == [0, 4, 2, 6, 1, 5, 3, 7] and spread(1) == [0]
    for count in (10, 245):
        assert sorted(spread(count)) == list(range(count))
        for some in (8, 16, 32):
            if some < count:
                held = np.sort(spread(count)[:some])
                assert np.diff(held).max() <= 2 * math.ceil(count / some)


def test_looks() -> None:
    assert looks(4, 10) == [4, 5, 7, 9, 10] and looks(4, 3) == [3]


@pytest.mark.parametrize(
    ("t", "freedom", "tail"),
    [
        (0.0, 5.0, 0.5),
        (1.0, 1.0, 0.25),
        (6.313752, 1.0, 0.05),
        (2.015048, 5.0, 0.05),
        (2.763769, 10.0, 0.01),
        (-1.0, 1.0, 0.75),
    ],
)
def test_student(t: float, freedom: float, tail: float) -> None:
    """By the tables; one degree of freedom is Cauchy's, whose tail is arctan."""
    assert student_tail(t, freedom) == pytest.approx(tail, rel=1e-5)


def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="delta"):
        race(lambda at, jobs: np.zeros(len(jobs)), [2], 5, delta=1.0)
    with pytest.raises(ValueError, match="finite"):
        race(lambda at, jobs: np.full(len(jobs), np.nan), [2], 5)
    with pytest.raises(ValueError, match="one finite score"):
        race(lambda at, jobs: np.zeros(1), [2], 5)
