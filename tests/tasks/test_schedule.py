"""Schedules: against the normal law they assume, by linear algebra; what they save in a race, and how often that is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pairloom.tasks.race import race, spread
from pairloom.tasks.schedule import Schedule

ROUNDS = 60
TIME = np.arange(ROUNDS) / ROUNDS
WORTH = np.exp(-(((TIME - 0.6) / 0.15) ** 2))  # where a candidate's worth shows
NOISE = 0.3 + 2 * np.exp(-(((TIME - 0.7) / 0.1) ** 2))


def drawn(seed: int, decisions: int, candidates: int) -> np.ndarray:
    """[n C R]: worths that show at some times, noise of each time, a scale of each decision, and something in common."""
    random = np.random.default_rng(seed)
    worth = random.normal(size=(decisions, candidates, 1))
    noise = NOISE * random.normal(size=(decisions, candidates, ROUNDS))
    scale = 0.01 * np.exp(random.normal(0, 0.4, (decisions, 1, 1)))
    return scale * (worth * WORTH + noise) + random.normal(0, 5, (decisions, 1, ROUNDS))


@pytest.fixture(scope="module")
def learnt() -> Schedule:
    return Schedule.learnt(list(drawn(1, 60, 10)))


def settle(table: np.ndarray, schedule: Schedule | None, delta: float) -> tuple[list, int]:
    order = spread(ROUNDS) if schedule is None else schedule.order
    places = order if schedule is None else None
    asked = 0

    def ask(at: int, jobs: list[tuple[int, int]]) -> np.ndarray:
        nonlocal asked
        asked += len(jobs)
        return np.array([table[number, candidate, order[at]] for number, candidate in jobs])

    made = race(ask, [table.shape[1]] * len(table), ROUNDS, delta=delta, places=places, schedule=schedule)
    return made, asked


def test_it_is_the_normal_law() -> None:
    """What it expects of all rounds after some, and how open that is, are the conditional mean and variance."""
    schedule = Schedule.learnt(list(drawn(2, 200, 6)))
    columns = np.linalg.inv(schedule.whitener)
    covariance = columns @ columns.T
    np.testing.assert_allclose(schedule.shares, columns.sum(0), rtol=1e-8)
    scores = np.random.default_rng(0).multivariate_normal(np.zeros(ROUNDS), covariance, 3)
    for done in (1, 7, 40, ROUNDS):
        seen, rest = covariance[:done, :done], covariance[done:, :done]
        expected = scores[:, :done].sum(1) + (rest @ np.linalg.solve(seen, scores[:, :done].T)).sum(0)
        open_ = (covariance[done:, done:] - rest @ np.linalg.solve(seen, rest.T)).sum()
        np.testing.assert_allclose(schedule.sums(schedule.innovations(scores[:, :done])), expected, rtol=1e-6)
        assert schedule.open(done) == pytest.approx(schedule.slack * open_, rel=1e-6, abs=1e-12)
    assert sorted(schedule.order) == list(range(ROUNDS))


def test_what_tells_most_comes_first(learnt: Schedule) -> None:
    """Independent rounds come in the order of their variance; here, those where worth and noise are."""
    random = np.random.default_rng(3)
    sizes = random.permutation(np.linspace(0.1, 3, ROUNDS))
    plain = Schedule.learnt(list(sizes * random.normal(size=(400, 8, ROUNDS))))
    assert np.corrcoef(np.argsort(plain.order), -sizes)[0, 1] > 0.97
    assert np.abs(TIME[learnt.order[:10]] - 0.66).max() < 0.2
    assert learnt.open(20) < 0.1 * learnt.open(0) and learnt.open(ROUNDS) == 0


def test_few_decisions_are_less_sure() -> None:
    """With many the law is nearly as it says; with few it says of itself how much it errs, about as much as it does."""
    held = list(drawn(9, 200, 2))
    slacks, errors = [], []
    for count in (20, 60, 1000):
        schedule = Schedule.learnt(list(drawn(8, count, 2)))
        slacks.append(schedule.slack)
        errors.append(replace(schedule, slack=1.0)._wrong([one - one.mean(0) for one in held]))
    assert 1 <= slacks[2] < 1.3 and slacks[2] < slacks[1] < slacks[0]
    assert 0.5 < errors[0] / slacks[0] < 1.5 and errors[0] > 1.3


@pytest.mark.parametrize(("candidates", "count"), [(2, 300), (10, 120)])
def test_the_stated_error_holds(learnt: Schedule, candidates: int, count: int) -> None:
    """On other decisions of the kind, close ones among them; with far fewer rounds than without."""
    table = drawn(4, count, candidates)
    full = table.mean(2).argmax(1)
    for delta in (0.1, 0.02):
        made, asked = settle(table, learnt, delta)
        wrong = np.mean([one.winner != best for one, best in zip(made, full)])
        assert wrong <= delta + 2 * np.sqrt(delta / count)
        assert all(one.risk <= delta for one in made)
        assert asked == sum(one.rounds.sum() for one in made)
        assert 2 * asked < settle(table[: count // 5], None, delta)[1] * 5


def test_all_rounds_say_what_they_say(learnt: Schedule) -> None:
    """Run to the end, the winner and the distances between the scores are those of the means."""
    table = drawn(5, 20, 4)
    made, asked = settle(table, learnt, 0.0)
    assert asked == table.size and [one.winner for one in made] == table.mean(2).argmax(1).tolist()
    np.testing.assert_allclose([one.scores for one in made], table.mean(2), rtol=1e-8)
    soon, _ = settle(table, learnt, 0.2)
    gaps = [one.scores.max() - one.scores for one in soon]
    true = table.mean(2).max(1, keepdims=True) - table.mean(2)
    assert np.corrcoef(np.ravel(gaps), true.ravel())[0, 1] > 0.7
    assert all(one.scores.argmax() == one.winner for one in soon)


def test_units_and_order_do_not_matter() -> None:
    """Nor what candidates have in common; a decision of equal candidates goes to the end and ties."""
    cases = drawn(6, 40, 5)
    for turned in (cases * 1e4, cases[:, ::-1] + 3.0):
        one, other = (
            settle(cases[20:], Schedule.learnt(list(cases[:20])), 0.1),
            settle(turned[20:], Schedule.learnt(list(turned[:20])), 0.1),
        )
        assert one[1] == other[1]
    same = np.repeat(cases[:1, :1], 3, 1)
    made, asked = settle(same, Schedule.learnt(list(cases)), 0.1)
    assert made[0].ties == (0, 1, 2) and asked == same.size


def test_what_does_not_fit(learnt: Schedule) -> None:
    with pytest.raises(ValueError, match="8 decisions or more, these are 0"):
        Schedule.learnt(list(np.ones((20, 3, 5))))
    with pytest.raises(ValueError, match="60 rounds, these are 5"):
        race(lambda at, jobs: np.zeros(len(jobs)), [2], 5, schedule=learnt)
