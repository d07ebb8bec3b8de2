"""Statistical comparison: confidence intervals, paired tests, and the correction of many tests at once, from arrays with
one value an item.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

BLOCK = 4_000_000  # resampled values held at once: memory stays flat in the number of resamples


@dataclass(frozen=True)
class Interval:
    """Confidence interval: a value with its two-sided interval, low <= value <= high up to resampling."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def normal_quantile(probability: float) -> float:
    """Quantile of the standard normal distribution: 1.96 for .975."""
    return NormalDist().inv_cdf(probability)


def wilson(successes: int | float, trials: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927); valid at 0 and 1, where the usual interval has no width."""
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"{successes} successes in {trials} trials is no proportion")
    z = normal_quantile((1 + level) / 2)
    share = successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return Interval(
        share, max(0.0, middle - half) if share else 0.0, min(1.0, middle + half) if share < 1 else 1.0
    )


def bootstrap(
    values: ArrayLike,
    groups: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval of the mean (Efron 1979), with a fixed seed.

    values: [n], or [S n] for the same n items under S runs (seeds): runs are then resampled too, so that the interval
    holds for a new run. With few runs their variance is estimated from those few, and the interval is somewhat too narrow.
    groups: [n] labels of items that belong together (captions of one image): whole groups are resampled.
    """
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if table.ndim != 2 or table.size == 0 or not np.isfinite(table).all():
        raise ValueError("the bootstrap needs finite values [n] or [S n], at least one")
    sums, counts = _by_group(table, groups)
    random = np.random.default_rng(seed)
    runs, units = sums.shape
    means = np.empty(resamples)
    step = max(1, BLOCK // (units * runs))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = random.integers(units, size=(size, units))
        below = counts[drawn].sum(1)
        per_run = np.stack([row[drawn].sum(1) / below for row in sums], 1)
        chosen = random.integers(runs, size=(size, runs))
        means[start : start + size] = np.take_along_axis(per_run, chosen, 1).mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(sums.sum() / (counts.sum() * runs)), float(low), float(high))


def _by_group(
    table: NDArray[np.float64], groups: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if groups is None:
        return table, np.ones(table.shape[1])
    labels = np.asarray(groups)
    if labels.shape != (table.shape[1],):
        raise ValueError(f"groups must be one label per item: {labels.shape} for {table.shape[1]} items")
    _, index = np.unique(labels, return_inverse=True)
    return np.stack([np.bincount(index, row) for row in table]), np.bincount(index).astype(np.float64)


def difference(
    new: ArrayLike,
    old: ArrayLike,
    groups: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Paired bootstrap interval of the mean of new - old on the same items: see `bootstrap` for shapes and groups."""
    one, two = np.asarray(new, dtype=np.float64), np.asarray(old, dtype=np.float64)
    if one.shape != two.shape:
        raise ValueError(f"paired values must have one shape, got {one.shape} and {two.shape}")
    return bootstrap(one - two, groups, resamples, seed, level)


def mcnemar(new: ArrayLike, old: ArrayLike) -> float:
    """Exact two-sided McNemar test (McNemar 1947): p of "both are right equally often", from items that only one got right.

    new, old: [n] right or wrong on the same items.
    """
    one, two = np.asarray(new, dtype=bool), np.asarray(old, dtype=bool)
    if one.shape != two.shape:
        raise ValueError(f"paired answers must have one shape, got {one.shape} and {two.shape}")
    gained, lost = int((one & ~two).sum()), int((two & ~one).sum())
    trials = gained + lost
    tail = [
        math.exp(
            math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1) - trials * math.log(2)
        )
        for k in range(min(gained, lost) + 1)
    ]
    return min(1.0, 2 * math.fsum(tail))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values (Holm 1979), in the order of `p_values`: adjusted p <= alpha rejects, whatever the
    dependence of the tests."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted
