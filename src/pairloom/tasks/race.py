"""Successive elimination (Even-Dar et al., 2006): the best of some candidates by as few rounds of noisy scores as a bound on
the error allows.

Each round scores the remaining candidates under the same noise (paired), for many decisions at once, so that batches are
full. A candidate is eliminated when its paired difference from the leader is too large for chance; a decision ends when one
candidate remains. The variance of the differences is estimated.

There are two rules. Without a schedule: one-sided t-tests, valid for close decisions too, with delta divided among the
comparisons over time and the candidates. With a schedule (`tasks/schedule.py`): the conditional probability, after the
rounds so far, that the remaining rounds reverse the order of two candidates (stochastic curtailment, Lan et al., 1982). It
is valid where decisions are like those that the schedule was learnt from, and delta need not be divided over time, since the
bound is on another outcome and not on a test.

Assumption: the differences of the rounds are close to normal. `tests/tasks/test_race.py` measures the error rates.

C candidates, R rounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pairloom.tasks.schedule import PRIOR, Schedule

Ask = Callable[[int, list[tuple[int, int]]], NDArray[np.float64]]
GROWTH = 1.25  # growth of the number of rounds between comparisons: each may err, so there are few


@dataclass(frozen=True)
class Decision:
    """Outcome of a race. winner: the estimate of the candidate that would win after all rounds. scores [C]: mean over each
    candidate's rounds; with a schedule, the winner's mean minus the expected final distance of each. rounds [C]: number of
    each candidate's rounds. risk: bound on the probability of another winner after all rounds; 0 where all were run. ties:
    candidates with exactly the winner's score after all rounds (the winner is the first of them)."""

    winner: int
    scores: NDArray[np.float64]
    rounds: NDArray[np.int64]
    risk: float
    ties: tuple[int, ...] = ()


def spread(count: int) -> list[int]:
    """Van der Corput order of 0 .. count - 1 (halves, quarters, eighths ...): every prefix is spread over the whole range."""
    bits = max(1, (count - 1).bit_length())
    turned = (int(f"{index:0{bits}b}"[::-1], 2) for index in range(1 << bits))
    return [index for index in turned if index < count]


def looks(least: int, rounds: int) -> list[int]:
    """The numbers of rounds after which the candidates are compared."""
    counts = [min(least, rounds)]
    while counts[-1] < rounds:
        counts.append(min(rounds, max(counts[-1] + 1, math.ceil(counts[-1] * GROWTH))))
    return counts


def race(
    ask: Ask,
    counts: Sequence[int],
    rounds: int,
    *,
    delta: float = 0.05,
    least: int = 4,
    places: Sequence[int] | None = None,
    schedule: Schedule | None = None,
) -> list[Decision]:
    """Run a race for each number of candidates in `counts`.

    ask(round, [(decision, candidate) ...]) -> scores, higher is better; it is called once for each round, in the order 0, 1,
    ... delta: for each decision, the allowed probability of another outcome than that of all `rounds`; 0: run all rounds.
    least: rounds before the first elimination. places [R]: the position of each round on an axis along which differences may
    drift (its timestep); every prefix should be spread over it. The drift then does not count as noise. schedule: the rounds
    are run in its order (round 0 is schedule.order[0]). ValueError where the numbers do not fit or a score is not finite.
    """
    if not 0 <= delta < 1 or least < 2 or rounds < 1 or any(count < 1 for count in counts):
        raise ValueError(
            "a race needs 0 <= delta < 1, two rounds before the first look and a candidate in each"
        )
    if schedule is not None and schedule.rounds != rounds:
        raise ValueError(f"the schedule is of {schedule.rounds} rounds, these are {rounds}")
    races = [_Race(count, rounds, schedule) for count in counts]
    stops = looks(least, rounds) if schedule is None else range(least, rounds)
    for at in range(rounds):
        open_ = [number for number, one in enumerate(races) if len(one.alive) > 1 or not at]
        jobs = [(number, candidate) for number in open_ for candidate in races[number].alive]
        if not jobs:
            break
        errors = np.asarray(ask(at, jobs), dtype=np.float64)
        if errors.shape != (len(jobs),) or not np.isfinite(errors).all():
            raise ValueError("a round must give one finite score for each job")
        for (number, candidate), score in zip(jobs, errors):
            races[number].table[candidate, at] = score
        if at + 1 in stops and delta and at + 1 < rounds:
            still = [races[number] for number in open_ if len(races[number].alive) > 1]
            if schedule is not None:
                _settle(still, at + 1, delta, schedule)
            elif still:
                line = None if places is None else np.argsort(places[: at + 1])
                _eliminate(still, at + 1, delta / len(stops), line)
    return [one.decision() for one in races]


class _Race:
    """State of one decision. table [C R]: scores so far, NaN where a candidate was not scored."""

    def __init__(self, candidates: int, rounds: int, schedule: Schedule | None) -> None:
        self.table, self.schedule = np.full((candidates, rounds), np.nan), schedule
        self.alive = list(range(candidates))
        self.risk = 0.0

    def ahead(self, done: int) -> tuple[int, list[int], NDArray[np.float64]]:
        """The leader, the other candidates, and the leader's lead over each in each round [others done]."""
        rows = self.table[self.alive, :done]
        first = int(rows.mean(1).argmax())
        others = [at for at in range(len(self.alive)) if at != first]
        return self.alive[first], [self.alive[at] for at in others], rows[first] - rows[others]

    def decision(self) -> Decision:
        counts = np.isfinite(self.table).sum(1)
        scores = np.nansum(self.table, 1) / counts
        best = max(self.alive, key=lambda candidate: (scores[candidate], -candidate))
        ties = tuple(candidate for candidate in self.alive if scores[candidate] == scores[best])
        if self.schedule is not None:
            behind = [self._behind(best, other, int(counts[other])) for other in range(len(counts))]
            scores = scores[best] - np.array(behind) / self.table.shape[1]
        return Decision(best, scores, counts, self.risk, ties if len(ties) > 1 else ())

    def _behind(self, best: int, other: int, done: int) -> float:
        """Expected difference of the best candidate's sum over all rounds and another one's."""
        assert self.schedule is not None
        gap = self.table[[best], :done] - self.table[[other], :done]
        return float(self.schedule.sums(self.schedule.innovations(gap))[0])


def _eliminate(races: Sequence[_Race], done: int, delta: float, line: NDArray[np.int64] | None) -> None:
    """Eliminate candidates by one-sided t-tests of the paired differences, with the finite population correction for the
    remaining rounds, and delta divided among the candidates (Bonferroni). With rounds in `line`, the variance is estimated
    from differences of neighbours on it (von Neumann et al., 1941), with two thirds of the degrees of freedom."""
    bounds = [(one, *one.ahead(done)) for one in races]
    if line is None:
        own, spreads = float(done - 1), [gap.var(1, ddof=1) for _, _, _, gap in bounds]
    else:
        own = 2 * (done - 1) / 3
        spreads = [np.square(np.diff(gap[:, line], axis=1)).mean(1) / 2 for _, _, _, gap in bounds]
    pool = float(np.mean(np.concatenate(spreads)))
    freedom = own + PRIOR  # a race's variance is shrunk towards that of all races
    for (one, leader, others, gap), spread_ in zip(bounds, spreads):
        variance = (own * spread_ + PRIOR * pool) / freedom
        error = np.sqrt(variance * (1 / done - 1 / one.table.shape[1]))
        allowed = delta / (len(one.table) - 1)
        stays = [leader]
        for candidate, lead, width in zip(others, gap.mean(1), error):
            chance = student_tail(lead / width, freedom) if width > 0 else float(lead <= 0)
            if chance <= allowed:
                one.risk += chance
            else:
                stays.append(candidate)
        one.alive = sorted(stays)


def _settle(races: Sequence[_Race], done: int, delta: float, schedule: Schedule) -> None:
    """Eliminate candidates whose probability of overtaking the leader is at most their share of delta, and all of them where
    their probabilities together are within what is left of delta."""
    width, freedom = schedule.open(done), done + PRIOR
    for one in races:
        innovations = schedule.innovations(one.table[one.alive, :done])
        sums = schedule.sums(innovations)
        first = int(sums.argmax())
        scale = (PRIOR + np.square(innovations[first] - innovations).sum(1) / 2) / freedom
        error = np.sqrt(2 * scale * width)
        chances = {
            at: student_tail((sums[first] - sums[at]) / error[at], freedom) if error[at] > 0 else 0.0
            for at in range(len(one.alive))
            if at != first
        }
        share = delta / (len(one.table) - 1)
        out = {at for at, chance in chances.items() if chance <= share}
        if one.risk + sum(chances.values()) <= delta:
            out = set(chances)
        one.risk += sum(chances[at] for at in out)
        one.alive = [candidate for at, candidate in enumerate(one.alive) if at not in out]


def student_tail(t: float, freedom: float) -> float:
    """Survival function of Student's t distribution, P(T > t)."""
    if t < 0:
        return 1 - student_tail(-t, freedom)
    return 0.5 * _beta_share(freedom / (freedom + t * t), freedom / 2, 0.5)


def _beta_share(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (Lentz's way of evaluating it)."""
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_share(1 - x, b, a)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 300):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / (1 + term * d), 1 + term / c
            value *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return front * value / a
