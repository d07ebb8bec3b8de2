"""Comparisons of systems on the same cases, and of a run with an earlier one: differences with intervals and p, with Holm's
correction over all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pairloom.bench._measure import Floats, Measure, interval_of
from pairloom.metrics.bias import effect_gap
from pairloom.metrics.compare import Interval, holm, mcnemar

ALPHA = 0.05
FLIPS = 20_000  # random sign flips, where the test is not exact


@dataclass(frozen=True)
class Comparison:
    """Comparison of two systems: new - old of one measure on their common cases. p: of `no_difference`; holm: adjusted for all
    comparisons of its family; best: the best value of the measure.
    """

    benchmark: str
    measure: str
    new: str
    old: str
    gap: Interval
    cases: int
    p: float
    holm: float = 1.0
    best: float = 1.0

    @property
    def verdict(self) -> str:
        """ "better" or "worse" where the interval excludes 0 and the adjusted p is small; else "undecided". For an effect size,
        whose best value is 0, the smaller is better."""
        if self.holm < ALPHA and not self.gap.low <= 0 <= self.gap.high:
            return "better" if (self.gap.value > 0) == (self.best > 0) else "worse"
        return "undecided"


def compare(benchmark: str, new: str, old: str, one: Measure, two: Measure) -> Comparison | None:
    """Compare two systems on a measure; None where they have no case in common."""
    return _compare(benchmark, new, old, one, dict(zip(two.keys, two.values)))


def compare_effects(benchmark: str, new: str, old: str, one: Measure, two: Measure) -> Comparison:
    """Compare the absolute effect sizes of two systems on the same pictures."""
    new_halves, old_halves = ([np.array(half) for half in effect.halves] for effect in (one, two))
    gap, p = effect_gap(new_halves, old_halves)
    name = one.name.replace("effect size", "size of the effect")
    return Comparison(benchmark, name, new, old, gap, one.count, p, best=0.0)


def _compare(
    benchmark: str, new: str, old: str, one: Measure, values: Mapping[str, float]
) -> Comparison | None:
    both = [at for at, key in enumerate(one.keys) if key in values]
    if not both:
        return None
    first = np.array([one.values[at] for at in both])
    second = np.array([values[one.keys[at]] for at in both])
    strata = [one.strata[at] for at in both] if one.strata else []
    gap = interval_of(first - second, [one.groups[at] for at in both], strata)
    return Comparison(benchmark, one.name, new, old, gap, len(both), no_difference(first - second))


def no_difference(gaps: Floats) -> float:
    """p of "neither is better" from the differences of the cases [n]: McNemar's exact test where every case is right or wrong
    (differences -1, 0, 1); otherwise a sign-flip permutation test: how often the sum is as large when each difference has a
    random sign."""
    if np.isin(gaps, (-1.0, 0.0, 1.0)).all():
        return mcnemar(gaps > 0, gaps < 0)
    sizes, counts = np.unique(np.abs(gaps[gaps != 0]).round(9), return_counts=True)
    random = np.random.default_rng(0)
    sums = sum(
        size * (2.0 * random.binomial(count, 0.5, FLIPS) - count) for size, count in zip(sizes, counts)
    )
    return float((1 + (np.abs(sums) >= abs(gaps.sum()) - 1e-9).sum()) / (1 + FLIPS))


def adjusted(rows: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with Holm's p-values over all of them."""
    return [
        Comparison(**{**vars(row), "holm": p}) for row, p in zip(rows, holm([row.p for row in rows]))
    ]  # fmt: skip


def with_earlier(
    benchmark: str,
    measures: Mapping[str, Sequence[Measure]],
    questions: Mapping[str, str],
    earlier: Mapping[str, Any],
) -> list[Comparison]:
    """Compare every system of this run with every system of an earlier results.json, on the cases of both runs: those with the
    same name and, by `questions` (name -> hash), the same content."""
    previous = earlier.get("benchmarks", {}).get(benchmark, {})
    before = previous.get("questions", {})
    same = {key for key, mark in questions.items() if before.get(key) == mark}
    whole = dict(before) == dict(questions)  # required for a number that is no mean over cases
    rows = []
    for old in earlier.get("systems", {}):
        for new, measure_rows in measures.items():
            for one in measure_rows:
                values = previous.get("values", {}).get(old, {}).get(one.name, {}) if one.headline else {}
                known = {
                    key: values[key] for key in values if key in same or (whole and key not in questions)
                }
                row = _compare(benchmark, new, f"{old} (earlier)", one, known) if known else None
                rows += [row] if row else []
    return rows
