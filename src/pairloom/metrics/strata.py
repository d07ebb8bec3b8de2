"""Macro average: the mean of the class means, with a bootstrap interval that resamples within each class."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pairloom.metrics.compare import BLOCK, Interval


def macro(
    values: ArrayLike,
    strata: ArrayLike,
    groups: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Macro average with its stratified percentile bootstrap interval.

    values: [n]. strata: [n] class of each item; every class weighs the same and keeps its size. groups: [n] items that
    belong together (questions about one picture): whole groups are drawn again, within their class.
    """
    items, classes = np.asarray(values, dtype=np.float64), np.asarray(strata)
    labels = np.arange(len(items)) if groups is None else np.asarray(groups)
    if items.ndim != 1 or not len(items) or not len(items) == len(classes) == len(labels):
        raise ValueError("values, strata and groups must be rows of one length, at least one")
    if not np.isfinite(items).all():
        raise ValueError("a value is not a number")
    random = np.random.default_rng(seed)
    names = np.unique(classes)
    total, drawn = 0.0, np.zeros(resamples)
    for name in names:
        inside = classes == name
        total += items[inside].mean()
        _, index = np.unique(labels[inside], return_inverse=True)
        sums, counts = np.bincount(index, items[inside]), np.bincount(index)
        step = max(1, BLOCK // len(sums))
        for start in range(0, resamples, step):
            chosen = random.integers(len(sums), size=(min(step, resamples - start), len(sums)))
            drawn[start : start + step] += sums[chosen].sum(1) / counts[chosen].sum(1)
    low, high = np.quantile(drawn / len(names), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(total / len(names)), float(low), float(high))
