"""Association bias (WEAT): is one group of pictures closer to the pleasant words than another? Effect size, permutation
test, interval.

The measure is WEAT's (Caliskan et al. 2017, arXiv 1608.07187) with pictures for target words, as MMBias (2303.12734)
and GDBench (2305.16397) use it. All but `association` read one number a picture, its association.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pairloom.metrics.compare import Interval

Floats = NDArray[np.float64]
ENUMERATED = 50_000  # up to so many partitions the test is exact


def association(scores: ArrayLike, pleasant: int) -> Floats:
    """Association of each picture with the pleasant words [n]: its mean score with the first `pleasant` phrases minus its mean
    score with the rest. scores: [n phrases], higher is closer.

    A constant that is added to all scores of a picture (a prior) cancels.
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or not 0 < pleasant < table.shape[1]:
        raise ValueError(
            f"scores [n phrases] with phrases of both sides are needed, got {table.shape}, {pleasant}"
        )
    return table[:, :pleasant].mean(1) - table[:, pleasant:].mean(1)


def effect_size(one: ArrayLike, two: ArrayLike, within: ArrayLike | None = None) -> float:
    """Effect size (Cohen's d): (mean(one) - mean(two)) / population standard deviation over both groups. Above 0 `one` is
    closer to the pleasant words.

    within: other values to compute the deviation from. 0 where the deviation is 0. At most 2 for groups of equal size.
    """
    first, second = _groups(one, two)
    spread = np.std(
        np.concatenate([first, second]) if within is None else np.asarray(within, dtype=np.float64)
    )
    gap = float(first.mean() - second.mean())
    return gap / float(spread) if spread > 0 else 0.0


@dataclass(frozen=True)
class Permutation:
    """Result of a permutation test: p of "the groups do not differ", exact where all partitions were enumerated."""

    p: float
    exact: bool


def permutation_test(
    one: ArrayLike, two: ArrayLike, draws: int = 10_000, seed: int = 0, two_sided: bool = True
) -> Permutation:
    """Permutation test: how often a random split into groups of these sizes differs in means by as much as this one.

    All splits are enumerated where there are at most ENUMERATED; else `draws` random ones are drawn, with the observed split
    counted among them (Phipson & Smyth 2010), so that p is never 0. two_sided=False: p of a difference as large or larger in
    favour of `one` (WEAT's).
    """
    first, second = _groups(one, two)
    every, size = np.concatenate([first, second]), len(first)
    every = every - every.mean()
    seen = every[:size].sum()
    exact = comb(len(every), size) <= ENUMERATED
    if exact:
        sums = every[np.array(list(combinations(range(len(every)), size)))].sum(1)
    else:
        random = np.random.default_rng(seed)
        sums = np.array([random.permutation(every)[:size].sum() for _ in range(draws)])
    slack = 1e-9 * max(1.0, float(np.abs(every).sum()))
    count = int((np.abs(sums) >= abs(seen) - slack if two_sided else sums >= seen - slack).sum())
    return Permutation(count / len(sums) if exact else (1 + count) / (1 + draws), exact)


def effect_interval(
    one: ArrayLike, two: ArrayLike, resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Effect size with its percentile bootstrap interval: pictures are resampled within each group."""
    first, second = _groups(one, two)
    random = np.random.default_rng(seed)
    a = first[random.integers(len(first), size=(resamples, len(first)))]
    b = second[random.integers(len(second), size=(resamples, len(second)))]
    spread = np.concatenate([a, b], 1).std(1)
    sizes = np.divide(a.mean(1) - b.mean(1), spread, out=np.zeros(resamples), where=spread > 0)
    low, high = np.quantile(sizes, [(1 - level) / 2, (1 + level) / 2])
    return Interval(effect_size(first, second), float(low), float(high))


def effect_gap(
    new: Sequence[ArrayLike],
    old: Sequence[ArrayLike],
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[Interval, float]:
    """Difference of |effect size| between two scorers, with its paired bootstrap interval and the p-value of "no difference".

    new, old: the associations of both groups by each scorer, for the same pictures in the same order; pictures are resampled
    for both at once. p is twice the smaller share of resamples on either side of 0, and at least 1 / (resamples + 1). Where
    both effects are near 0 both are estimated too large, so that the difference is conservative.
    """
    first, second = _groups(*new), _groups(*old)
    if [len(group) for group in first] != [len(group) for group in second]:
        raise ValueError("both scorers must have scored the same pictures")
    random = np.random.default_rng(seed)
    drawn = [random.integers(len(group), size=(resamples, len(group))) for group in first]
    sizes = []
    for judged in (first, second):
        a, b = (group[rows] for group, rows in zip(judged, drawn))
        spread = np.concatenate([a, b], 1).std(1)
        size = np.divide(a.mean(1) - b.mean(1), spread, out=np.zeros(resamples), where=spread > 0)
        sizes.append(np.abs(size))
    gaps = sizes[0] - sizes[1]
    low, high = np.quantile(gaps, [(1 - level) / 2, (1 + level) / 2])
    tail = min((gaps <= 0).sum(), (gaps >= 0).sum())
    value = abs(effect_size(*first)) - abs(effect_size(*second))
    return Interval(value, float(low), float(high)), min(1.0, 2 * (1 + float(tail)) / (1 + resamples))


def _groups(one: ArrayLike, two: ArrayLike) -> tuple[Floats, Floats]:
    first, second = np.asarray(one, dtype=np.float64), np.asarray(two, dtype=np.float64)
    for group in (first, second):
        if group.ndim != 1 or len(group) < 2 or not np.isfinite(group).all():
            raise ValueError(f"a group is a row of two or more finite numbers, got {group.shape}")
    return first, second
