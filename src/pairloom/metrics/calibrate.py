"""Calibration: from scores that only rank to P(match), and how far to trust the result.

Two situations. Where the truth is known (a drawn world, human labels): reliability, expected calibration error, Brier
score, isotonic regression. Where it is not (a collection that is searched): own pairs and known mismatches, and
`mixture_posterior` learns from these alone how likely a score means a match. `budget` does that for a decision.

Scores: higher is better. The estimates hold for mismatches that score like the planted ones: a caption with one wrong word
scores higher than a swapped one, and is counted among the good pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pairloom.metrics.compare import Interval, normal_quantile, wilson

Floats = NDArray[np.float64]


def _scores(values: ArrayLike, name: str) -> Floats:
    array = np.asarray(values, dtype=np.float64).ravel()
    if not len(array) or not np.isfinite(array).all():
        raise ValueError(f"{name}: at least one score is needed, and every score must be finite")
    return array


# -- separation of two groups ------------------------------------------------------------------------------------------


def _beaten(values: Floats, rivals: Floats) -> Floats:
    """Share of rivals that each value exceeds, ties half: [n]."""
    ordered = np.sort(rivals)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / (
        2 * len(rivals)
    )


def auroc(good: ArrayLike, bad: ArrayLike) -> float:
    """AUROC, the area under the ROC curve: P(a good score exceeds a bad one), ties half; Mann-Whitney's U / (n m)."""
    return float(_beaten(_scores(good, "good"), _scores(bad, "bad")).mean())


def auroc_interval(good: ArrayLike, bad: ArrayLike, level: float = 0.95) -> Interval:
    """AUROC with DeLong's variance (DeLong et al. 1988) on the logit scale, so that the interval stays inside [0, 1].

    Where the groups do not overlap that variance is 0; there the interval is Wilson's for the smaller group.
    """
    one, two = _scores(good, "good"), _scores(bad, "bad")
    over, under = _beaten(one, two), 1 - _beaten(two, one)
    area = float(over.mean())
    if len(one) < 2 or len(two) < 2 or not 0 < area < 1:
        small = min(len(one), len(two))
        return wilson(area * small, small, level)
    error = math.sqrt(over.var(ddof=1) / len(one) + under.var(ddof=1) / len(two)) / (area * (1 - area))
    odds, z = math.log(area / (1 - area)), normal_quantile((1 + level) / 2)
    return Interval(area, float(_sigmoid(odds - z * error)), float(_sigmoid(odds + z * error)))


def found_at(
    good: ArrayLike,
    bad: ArrayLike,
    false_drop: float = 0.05,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Recall of bad pairs at a false drop rate: share of the bad scores below the threshold below which at most `false_drop`
    of the good ones fall.

    The interval is the bootstrap over both groups, threshold included. A resampled threshold is an order statistic of
    n uniform ranks, hence Beta distributed, and the count below it is binomial: both are drawn directly, without sorting
    resamples.
    """
    one, two = np.sort(_scores(good, "good")), np.sort(_scores(bad, "bad"))
    if not 0 <= false_drop < 1:
        raise ValueError(f"false_drop is a share in [0, 1), got {false_drop}")
    allowed = int(math.floor(false_drop * len(one) + 1e-9))
    share = np.searchsorted(two, one[allowed], "left") / len(two)
    random = np.random.default_rng(seed)
    place = (random.beta(allowed + 1, len(one) - allowed, resamples) * len(one)).astype(np.int64)
    chance = np.searchsorted(two, one[np.minimum(place, len(one) - 1)], "left") / len(two)
    drawn = random.binomial(len(two), chance) / len(two)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(share), min(float(low), float(share)), max(float(high), float(share)))


# -- probabilities against the truth -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability diagram: mean predicted probability, share that was true, number of pairs."""

    predicted: float
    true: float
    count: int


def _probabilities(probability: ArrayLike, truth: ArrayLike) -> tuple[Floats, Floats]:
    predicted, true = _scores(probability, "probability"), np.asarray(truth, dtype=np.float64).ravel()
    if (
        predicted.shape != true.shape
        or predicted.min() < 0
        or predicted.max() > 1
        or not np.isin(true, (0, 1)).all()
    ):
        raise ValueError("probabilities in [0, 1] and as many truths, each 0 or 1, are needed")
    return predicted, true


def reliability(probability: ArrayLike, truth: ArrayLike, bins: int = 15) -> list[Bin]:
    """Reliability diagram with bins of equal count; equal probabilities are always in one bin."""
    predicted, true = _probabilities(probability, truth)
    order = np.argsort(predicted, kind="stable")
    predicted, true = predicted[order], true[order]
    cuts = np.searchsorted(
        predicted, predicted[np.linspace(0, len(predicted), bins + 1).astype(int)[1:-1]], "left"
    )
    edges = np.unique(np.r_[0, cuts, len(predicted)])
    return [
        Bin(float(predicted[a:b].mean()), float(true[a:b].mean()), int(b - a))
        for a, b in zip(edges[:-1], edges[1:])
    ]


def calibration_error(probability: ArrayLike, truth: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error: mean |predicted - true| over pairs, in bins of equal count. Sampling noise alone gives about
    sqrt(bins / n)."""
    bins_of = reliability(probability, truth, bins)
    return sum(bin.count * abs(bin.predicted - bin.true) for bin in bins_of) / sum(
        bin.count for bin in bins_of
    )


def brier(probability: ArrayLike, truth: ArrayLike) -> float:
    """Brier score (Brier 1950): mean squared error of the probability. 0 is perfect; a constant one half gets .25."""
    predicted, true = _probabilities(probability, truth)
    return float(((predicted - true) ** 2).mean())


def rising(values: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Isotonic regression by pool adjacent violators (Ayer et al. 1955): the closest non-decreasing sequence in weighted least
    squares, [n] -> [n]."""
    array = np.asarray(values, dtype=np.float64)
    mass = np.ones(len(array)) if weights is None else np.asarray(weights, dtype=np.float64)
    means: list[float] = []
    masses: list[float] = []
    lengths: list[int] = []
    for value, weight in zip(array.tolist(), mass.tolist()):
        length = 1
        while means and means[-1] >= value:
            before = masses.pop()
            value = (value * weight + means.pop() * before) / (weight + before)
            weight, length = weight + before, length + lengths.pop()
        means.append(value)
        masses.append(weight)
        lengths.append(length)
    return np.repeat(means, lengths)


@dataclass(frozen=True)
class Isotonic:
    """Isotonic calibration map: non-decreasing from score to probability, linear between its knots."""

    at: Floats
    probability: Floats

    def __call__(self, scores: ArrayLike | float) -> Floats:
        return np.asarray(np.interp(np.asarray(scores, dtype=np.float64), self.at, self.probability))


def fit_isotonic(scores: ArrayLike, truth: ArrayLike) -> Isotonic:
    """Isotonic calibration (Zadrozny and Elkan 2002) from labelled scores; equal scores get one probability."""
    scores_, true = _scores(scores, "scores"), np.asarray(truth, dtype=np.float64).ravel()
    at, index = np.unique(scores_, return_inverse=True)
    counts = np.bincount(index)
    return Isotonic(at, rising(np.bincount(index, true) / counts, counts))


# -- own pairs and planted mismatches ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScoreMixture:
    """Two-component mixture model of scores, fitted without labels: called with scores of any shape it returns P(match).

    bad: estimated share of the user's own pairs that score like planted mismatches (pi).
    area: AUROC of own pairs over planted mismatches. Bad pairs among the own lower it: it is at most 1 - bad / 2.
    tells: whether the scorer separates own pairs from planted ones (area's interval lies above one half). Where it is
        False, neither `bad` nor the probabilities are valid, and no pair may be dropped by them.
    offset, slope, centre: P(match | s) = sigmoid(offset + slope * (s - centre)), slope > 0.
    """

    bad: float
    area: Interval
    tells: bool
    offset: float
    slope: float
    centre: float

    def __call__(self, scores: ArrayLike | float) -> Floats:
        return _sigmoid(self.offset + self.slope * (np.asarray(scores, dtype=np.float64) - self.centre))


def _sigmoid(logit: Floats | float) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(logit, -700, 700))))


def mixture_posterior(own: ArrayLike, planted: ArrayLike) -> ScoreMixture:
    """Fit P(match | score) to the user's own pairs (an unknown share pi is bad) and planted mismatches (all bad).

    own, planted: finite scores [n], [m]; both from a scorer that has not been trained on these very pairs.

    The model is the exponential tilt (Anderson 1979; Qin 1999): own = (1 - pi) good + pi planted, and good / planted =
    exp(a + b s) with b > 0, which holds exactly for a calibrated logit and for two normals of one spread. No shape is
    assumed for either group. The odds "own : planted" at a score are then (n / m) (pi + (1 - pi) exp(a + b s)): a
    logistic curve with a floor, whose three parameters are fitted by maximum likelihood, and
    P(match | s) = sigmoid(a + b s + log((1 - pi) / pi)), strictly rising, so that no ranking is lost.

    Where the scores of good pairs vary more than those of mismatches pi is estimated too high, and where they have heavy tails
    too low: no budget may rest on it (docs/metrics.md; `budget.draw` has no such shape).
    """
    mine, mismatched = _scores(own, "own"), _scores(planted, "planted")
    area = auroc_interval(mine, mismatched)
    both = np.concatenate([mine, mismatched])
    centre, scale = float(np.median(mismatched)), float(both.std()) or 1.0
    label = np.r_[np.ones(len(mine)), np.zeros(len(mismatched))]
    fits = [
        _floored(((both - centre) / scale), label, len(mine) / len(mismatched), floor) for floor in (0.1, 0.5)
    ]
    log_floor, offset, log_slope = min(fits, key=lambda fit: fit[0])[1]
    return ScoreMixture(
        math.exp(log_floor),
        area,
        area.low > 0.5,
        float(offset - log_floor),
        math.exp(log_slope) / scale,
        centre,
    )


def _floored(x: Floats, label: Floats, ratio: float, floor: float) -> tuple[float, Floats]:
    """Fit odds = ratio * (e^t0 + e^(t1 + e^t2 x)) by damped Fisher scoring; t0 <= 0. Returns (-log likelihood, t)."""

    def look(t: Floats) -> tuple[float, Floats, Floats]:
        rise = np.exp(np.clip(t[1] + math.exp(t[2]) * x, -50, 50))
        odds = ratio * (math.exp(t[0]) + rise)
        return float((np.log1p(odds) - label * np.log(odds)).sum()), rise, odds

    t, damping = np.array([math.log(floor), math.log(1 - floor) - 1, 0.0]), 1e-3
    loss, rise, odds = look(t)
    for _ in range(200):
        share = rise / (math.exp(t[0]) + rise)
        slopes = np.stack([1 - share, share, share * x * math.exp(t[2])], 1)
        chance = odds / (1 + odds)
        gradient = slopes.T @ (chance - label)
        curve = (slopes * (chance * (1 - chance))[:, None]).T @ slopes
        tried = np.zeros(3)
        for _ in range(20):
            step = np.linalg.solve(curve + damping * np.diag(np.diag(curve) + 1e-6), gradient)
            tried = np.clip(t - np.clip(step, -2, 2), (-12, -60, -12), (0, 60, 6))
            new = look(tried)
            if new[0] < loss:
                break
            damping *= 4
        else:
            return loss, t
        gain, t, (loss, rise, odds) = loss - new[0], tried, new
        damping = max(damping / 10, 1e-9)
        if gain < 1e-9 * len(x):
            break
    return loss, t
