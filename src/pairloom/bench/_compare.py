"""Compare: systems on the same cases, and this run with an earlier one: differences with intervals, p, Holm over all.

Does not know: what the numbers measure.
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
FLIPS = 20_000  # of all signs, where their outcomes are not counted exactly


@dataclass(frozen=True)
class Comparison:
    """new - old of one measure on the cases that both have. p: of `no_difference`; holm: adjusted for all comparisons of its
    family; best: of the measure.
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
        """better or worse where the interval excludes 0 and the adjusted p is small; else undecided. The best of an effect
        size is 0: the smaller is better."""
        if self.holm < ALPHA and not self.gap.low <= 0 <= self.gap.high:
            return "better" if (self.gap.value > 0) == (self.best > 0) else "worse"
        return "undecided"


def compare(benchmark: str, new: str, old: str, one: Measure, two: Measure) -> Comparison | None:
    """Two systems on one measure; None where they have no case in common."""
    return _compare(benchmark, new, old, one, dict(zip(two.keys, two.values)))


def compare_effects(benchmark: str, new: str, old: str, one: Measure, two: Measure) -> Comparison:
    """How much larger, whatever its sign, an effect size is than that of another system on the same pictures."""
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
    """p of "neither is better": McNemar's exact test where every case [n] is right or wrong (gaps -1, 0, 1); where credit is
    shared, its like for any gaps: how often as large a sum comes of it when each is as likely to have the other sign."""
    if np.isin(gaps, (-1.0, 0.0, 1.0)).all():
        return mcnemar(gaps > 0, gaps < 0)
    sizes, counts = np.unique(np.abs(gaps[gaps != 0]).round(9), return_counts=True)
    random = np.random.default_rng(0)
    sums = sum(
        size * (2.0 * random.binomial(count, 0.5, FLIPS) - count) for size, count in zip(sizes, counts)
    )
    return float((1 + (np.abs(sums) >= abs(gaps.sum()) - 1e-9).sum()) / (1 + FLIPS))


def adjusted(rows: Sequence[Comparison]) -> list[Comparison]:
    """The same comparisons with Holm's p over all of them."""
    return [
        Comparison(**{**vars(row), "holm": p}) for row, p in zip(rows, holm([row.p for row in rows]))
    ]  # fmt: skip


def with_earlier(
    benchmark: str,
    measures: Mapping[str, Sequence[Measure]],
    questions: Mapping[str, str],
    earlier: Mapping[str, Any],
) -> list[Comparison]:
    """Every system of now against every one of an earlier results.json, on the cases that both runs asked: the same name
    and, by `questions` (name -> hash), the same question."""
    previous = earlier.get("benchmarks", {}).get(benchmark, {})
    before = previous.get("questions", {})
    same = {key for key, mark in questions.items() if before.get(key) == mark}
    whole = dict(before) == dict(questions)  # needed where a number is no mean over cases
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
