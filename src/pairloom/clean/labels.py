"""Labels of a person for some of the set's own texts, and the highest threshold that keeps the budget by them alone.

The texts are a simple random sample of those below a limit, so that the bound of the good ones among them is exact, whatever
the judge is worth. Does not know: pictures, models, files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pairloom.metrics.budget import MixtureDraws
from pairloom.metrics.label_bound import binomial_lower, binomial_upper, last_passed, most_good

Floats = NDArray[np.float64]
CONFIDENCE = 0.9  # that the budget holds
OPTIMISTIC = 0.25  # quantile of the false drop rate at the limit below which labels are drawn


@dataclass(frozen=True)
class Labels:
    """Labels of own texts: index [L] of the text, good [L], and the limit below which the texts were drawn at random."""

    index: NDArray[np.int64]
    good: NDArray[np.bool_]
    below: float


def choose_labels(own: Floats, below: float, count: int, seed: int) -> NDArray[np.int64]:
    """Indices of the texts to show a person, in random order: a simple random sample of the own texts that score below a limit
    (`label_limit` of a calibration's facts). A longer sample of the same seed begins with the shorter one."""
    population = np.flatnonzero(own < below)
    return np.random.default_rng(seed).permutation(population)[:count]


def label_limit(draws: MixtureDraws, false_drop: float) -> float:
    """Highest threshold that may still keep the budget: labels of texts above it decide nothing."""
    fits = np.flatnonzero(draws.quantile(draws.good_below(), OPTIMISTIC) <= false_drop)
    return float(draws.edges[fits[-1] if len(fits) else 0])


@dataclass(frozen=True)
class Bound:
    """Threshold by an exact bound: its place among the thresholds, None without one, and whether the evidence speaks against
    the place that the scores alone gave."""

    place: int | None
    refutes: bool


def label_bound(
    draws: MixtureDraws, own: Floats, labels: Labels, false_drop: float, place: int | None, highest: int
) -> Bound:
    """Highest threshold below which, with `CONFIDENCE`, at most `false_drop` of the good texts fall, and at least as many labelled
    texts are bad as good. place: that of the scores, for `Bound.refutes`. highest: the last place that P(match) allows."""
    scores, population = own[labels.index], own[own < labels.below]
    thresholds = draws.edges[draws.edges <= labels.below]
    allowed = false_drop * len(own) * (1 - draws.share().high)
    passed = last_passed(most_good(thresholds, population, scores, labels.good, CONFIDENCE) <= allowed)
    good, bad = ((scores[labels.good == kind][:, None] < thresholds).sum(0) for kind in (True, False))
    useful = np.flatnonzero((bad >= good) & (bad > 0) & (np.arange(len(thresholds)) < passed))
    refutes = False
    if place is not None:
        at = min(float(draws.edges[place]), labels.below)
        inside = scores < at
        least = binomial_lower(int((inside & labels.good).sum()), int(inside.sum()), CONFIDENCE)
        refutes = least * float((own < at).sum()) > false_drop * len(own) * (1 - draws.share().low)
    return Bound(_highest(useful, highest), refutes)


def _highest(places: NDArray[np.int64], highest: int) -> int | None:
    """The last place, but at most `highest`; None where there is none."""
    return min(int(places[-1]), highest) if len(places) and highest >= 0 else None


def trusted_bound(
    draws: MixtureDraws, trusted: Floats, false_drop: float, place: int | None, highest: int
) -> Bound:
    """The same from scores of pairs that are known to be good and are drawn like the good ones of the set: an order statistic."""
    below = (trusted[:, None] < draws.edges).sum(0)
    counts = {int(count): binomial_upper(int(count), len(trusted), CONFIDENCE) for count in np.unique(below)}
    passed = last_passed(np.array([counts[int(count)] for count in below]) <= false_drop)
    share = draws.own.mean(0)
    useful = np.flatnonzero(
        (share >= 2 * below / len(trusted)) & (share > 0) & (np.arange(len(below)) < passed)
    )
    refutes = place is not None and binomial_lower(int(below[place]), len(trusted), CONFIDENCE) > false_drop
    return Bound(_highest(useful, highest), refutes)
