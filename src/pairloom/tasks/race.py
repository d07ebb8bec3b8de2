"""Race: the best of some candidates by rounds of noisy scores, asking only as long as the decision is open.

Every round asks those that are still in it under the same noise (paired), many decisions at once so that batches are
full. A candidate leaves when its paired difference from the leader is too large for chance; a decision is settled when
one is left. It is successive elimination (Even-Dar et al., 2006) with paired differences of unknown variance.
Does not know: who scores, pictures, texts. What it assumes: differences of the rounds not far from normal, in an order
that does not matter; `tests/tasks/test_race.py` counts how often it is wrong.

C candidates, R rounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ask = Callable[[int, list[tuple[int, int]]], NDArray[np.float64]]
PRIOR = 4.0  # degrees of freedom that the variance of all races lends to one
GROWTH = 1.25  # rounds between looks: each look may err, so there are few


@dataclass(frozen=True)
class Decision:
    """winner: the candidate that all rounds would name, as far as is known. scores [C]: mean over the rounds that each took
    part in. rounds [C]: how many. risk: bound on the chance that all rounds would name another; 0 where all were run.
    ties: candidates with exactly the winner's score after all rounds (the winner is the first of them)."""

    winner: int
    scores: NDArray[np.float64]
    rounds: NDArray[np.int64]
    risk: float
    ties: tuple[int, ...] = ()


def spread(count: int) -> list[int]:
    """0 .. count - 1 so that every beginning is spread over all (van der Corput: halves, quarters, eighths ...)."""
    bits = max(1, (count - 1).bit_length())
    turned = (int(f"{index:0{bits}b}"[::-1], 2) for index in range(1 << bits))
    return [index for index in turned if index < count]


def looks(least: int, rounds: int) -> list[int]:
    """After which rounds the candidates are compared."""
    found = [min(least, rounds)]
    while found[-1] < rounds:
        found.append(min(rounds, max(found[-1] + 1, math.ceil(found[-1] * GROWTH))))
    return found


def race(
    ask: Ask,
    counts: Sequence[int],
    rounds: int,
    *,
    delta: float = 0.05,
    least: int = 4,
    places: Sequence[int] | None = None,
) -> list[Decision]:
    """Settle one decision for each number of candidates in `counts`.

    ask(round, [(decision, candidate) ...]) -> scores, higher is better; a round is asked once, in the order 0, 1, ...
    delta: for each decision, the chance that is allowed for another outcome than all `rounds` would have; 0: run all.
    least: rounds before anybody may leave. places [R]: where each round lies on an axis along which differences may drift
    (its time); every beginning should be spread over it. The drift then does not count as noise. ValueError where the numbers do not fit or a score is not finite.
    """
    if not 0 <= delta < 1 or least < 2 or rounds < 1 or any(count < 1 for count in counts):
        raise ValueError(
            "a race needs 0 <= delta < 1, two rounds before the first look and a candidate in each"
        )
    races = [_Race(count, rounds) for count in counts]
    stops = looks(least, rounds)
    for at in range(rounds):
        open_ = [number for number, one in enumerate(races) if len(one.alive) > 1 or not at]
        jobs = [(number, candidate) for number in open_ for candidate in races[number].alive]
        if not jobs:
            break
        said = np.asarray(ask(at, jobs), dtype=np.float64)
        if said.shape != (len(jobs),) or not np.isfinite(said).all():
            raise ValueError("a round must give one finite score for each job")
        for (number, candidate), score in zip(jobs, said):
            races[number].table[candidate, at] = score
        if at + 1 in stops and delta and at + 1 < rounds:
            line = None if places is None else np.argsort(places[: at + 1])
            _eliminate([races[number] for number in open_], at + 1, delta / len(stops), line)
    return [one.decision() for one in races]


class _Race:
    """One decision. table [C R]: scores so far, NaN where a candidate was out."""

    def __init__(self, candidates: int, rounds: int) -> None:
        self.table = np.full((candidates, rounds), np.nan)
        self.alive = list(range(candidates))
        self.risk = 0.0

    def ahead(self, done: int) -> tuple[int, list[int], NDArray[np.float64]]:
        """The leader, the others, and by how much it led each in each round [others done]."""
        rows = self.table[self.alive, :done]
        first = int(rows.mean(1).argmax())
        others = [at for at in range(len(self.alive)) if at != first]
        return self.alive[first], [self.alive[at] for at in others], rows[first] - rows[others]

    def decision(self) -> Decision:
        counts = np.isfinite(self.table).sum(1)
        scores = np.nansum(self.table, 1) / counts
        best = max(self.alive, key=lambda candidate: (scores[candidate], -candidate))
        ties = tuple(candidate for candidate in self.alive if scores[candidate] == scores[best])
        return Decision(best, scores, counts, self.risk, ties if len(ties) > 1 else ())


def _eliminate(races: Sequence[_Race], done: int, delta: float, line: NDArray[np.int64] | None) -> None:
    """Take out who is too far behind: one-sided t-tests of the paired differences against what the rest of the rounds can
    still change (finite population correction), delta shared by the candidates (Bonferroni). With rounds in `line`, noise is
    what neighbours on it differ by (von Neumann et al., 1941), at two thirds of the degrees of freedom."""
    found = [(one, *one.ahead(done)) for one in races if len(one.alive) > 1]
    if not found:
        return
    if line is None:
        own, spreads = float(done - 1), [gap.var(1, ddof=1) for _, _, _, gap in found]
    else:
        own = 2 * (done - 1) / 3
        spreads = [np.square(np.diff(gap[:, line], axis=1)).mean(1) / 2 for _, _, _, gap in found]
    pool = float(np.mean(np.concatenate(spreads)))
    freedom = own + PRIOR
    for (one, leader, others, gap), spread_ in zip(found, spreads):
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


def student_tail(t: float, freedom: float) -> float:
    """P(T > t) of Student's distribution."""
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
