"""Bounds from labels: how many of a known population are good, from a simple random sample of it, and the highest threshold that
keeps a budget with a stated confidence.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pairloom.metrics.calibrate import Floats


def binomial_upper(successes: int, trials: int, confidence: float) -> float:
    """Upper confidence bound of a proportion (Clopper and Pearson 1934): exact, one-sided; 1 without trials.

    It also holds, and is then conservative, for a sample without replacement.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials is no proportion")
    if successes == trials:
        return 1.0
    low, high = successes / trials, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(successes, trials, middle) > 1 - confidence else (low, middle)
    return high


def binomial_lower(successes: int, trials: int, confidence: float) -> float:
    """Lower confidence bound of a proportion: see `binomial_upper`."""
    return 1 - binomial_upper(trials - successes, trials, confidence)


def _at_most(successes: int, trials: int, share: float) -> float:
    """P(a binomial variable is at most `successes`), 0 < share <= 1."""
    if share >= 1:
        return float(successes >= trials)
    odds, log = math.log(share) - math.log1p(-share), trials * math.log1p(-share)
    total = 0.0
    for count in range(successes + 1):
        total += math.exp(log)
        log += math.log((trials - count) / (count + 1)) + odds
    return total


def most_good(
    thresholds: Floats, population: Floats, scores: Floats, good: NDArray[np.bool_], confidence: float
) -> Floats:
    """Upper confidence bound of the number of good pairs of the population below each threshold, [T].

    population [N]: scores of all pairs from which the labelled ones were drawn by simple random sampling; scores, good [L]: the
    labelled ones. Given their number, those below a threshold are a simple random sample of the population below it.
    """
    below = np.searchsorted(np.sort(population), thresholds, "left")
    bounds: dict[tuple[int, int], float] = {}
    result = np.empty(len(thresholds))
    for at, threshold in enumerate(thresholds):
        inside = scores < threshold
        key = (int((inside & good).sum()), int(inside.sum()))
        if key not in bounds:
            bounds[key] = binomial_upper(*key, confidence)
        result[at] = below[at] * bounds[key]
    return result


def last_passed(passes: NDArray[np.bool_]) -> int:
    """Fixed-sequence testing (Maurer et al. 1995): number of hypotheses before the first that fails. Each is tested at the
    whole level, and with that confidence no true one is among those that passed."""
    failed = np.flatnonzero(~passes)
    return int(failed[0]) if len(failed) else len(passes)
