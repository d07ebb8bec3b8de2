"""Share of mismatches, and false drop rate of every threshold, with their uncertainty, from own and planted scores alone.

The floor of the ratio own / planted (`density_ratio`) is the share of mismatches plus the share of good pairs that the scorer does not
understand at all, so that they score like mismatches. Scores alone do not separate the two. The second part is bounded
through the scorer's strength, and every draw takes a value from the whole of that bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pairloom.metrics.calibrate import Floats, Isotonic, rising
from pairloom.metrics.compare import Interval
from pairloom.metrics.density_ratio import Bins, fit_ratio

RESAMPLES = 100
STEPS = (0.1, 0.2)  # shares of the set that are added as known mismatches, for a check
LEAKS = 20  # values of the leak for each resample
NONE = 0.05  # probability of a set without mismatches, where the scores alone say nothing
DOUBT = 0.8  # of the model of the floor, where labels can decide about it
GROUPS = 200  # pictures are resampled in this many groups
LEAST_LEAK = 0.02  # also of a perfect scorer: people make errors too
LEAK = 20.0  # bound of the leak: LEAK (1 - AUROC of good over planted)^2 (docs/metrics.md)


@dataclass(frozen=True)
class MixtureDraws:
    """Weighted draws of everything that is unknown; R = RESAMPLES * LEAKS.

    edges [T]: thresholds, rising. weight [R]: sums to 1. bad [R]: share of mismatches. area [R]: AUROC of good over planted.
    own, planted [RESAMPLES T]: shares of the scores below each threshold; resample [R]: the row of a draw.
    ratio [T + 1]: own / planted between the thresholds, non-decreasing. leak: bound of the share of good pairs that score
    like mismatches. spread: standard deviation of the floor. halves: floor of either half of the pictures. steps: for each
    share of known mismatches added to the own scores, that share, the floor to expect, and the floor that was fitted.
    """

    edges: Floats
    weight: Floats
    bad: Floats
    area: Floats
    own: Floats
    planted: Floats
    resample: NDArray[np.int64]
    ratio: Floats
    leak: float
    spread: float
    halves: tuple[float, float]
    steps: list[tuple[float, float, float]]

    def good_below(self) -> Floats:
        """False drop rate, the share of the good pairs below each threshold: [R T]."""
        return self._good_below

    @cached_property
    def _good_below(self) -> Floats:
        bad = self.bad[:, None]
        below = (self.own[self.resample] - bad * self.planted[self.resample]) / (1 - bad)
        return np.maximum.accumulate(np.clip(below, 0, 1), axis=1)

    def precision(self) -> Floats:
        """Share of mismatches among the pairs below each threshold: [R T]; 1 where there is none."""
        own = self.own[self.resample]
        wrong = self.bad[:, None] * self.planted[self.resample]
        return np.where(own > 0, np.minimum(1, wrong / np.maximum(own, 1e-12)), 1.0)

    def quantile(self, values: Floats, share: float) -> Floats:
        """Weighted quantile over the draws: [R] or [R T] -> [] or [T]."""
        rows, share = np.ascontiguousarray(values.T), share * (1 - 1e-12)
        if np.ptp(self.weight) == 0:
            place = max(0, math.ceil(share * len(values)) - 1)
            return np.asarray(np.partition(rows, place, -1)[..., place])
        order = np.argsort(rows, axis=-1, kind="stable")
        places = (np.cumsum(self.weight[order], axis=-1) < share).sum(-1).clip(max=len(values) - 1)
        return np.asarray(
            np.take_along_axis(rows, np.take_along_axis(order, places[..., None], -1), -1)[..., 0]
        )

    def interval(self, values: Floats, level: float = 0.95) -> Interval:
        """Median and central interval of a drawn number [R]."""
        shares = (0.5, (1 - level) / 2, (1 + level) / 2)
        return Interval(*(float(self.quantile(values, share)) for share in shares))

    def span(self, number: Callable[[MixtureDraws], Floats], level: float = 0.95) -> Interval:
        """Median of a number of the draws, [R], and an interval that includes all that scores alone leave open: from its quantile
        with as many mismatches as the mixture bound allows, to the one with as few as the bound of the leak allows, or the other
        way round. For draws that no labels have weighted."""
        least = self.bad.reshape(-1, LEAKS).min(1)
        most = np.maximum(self.bad.reshape(-1, LEAKS).max(1), np.minimum(self._bounds(), 1 - 1e-6))
        ends = [number(self._with(bad)) for bad in (least, most)]
        low, high = ((1 - level) / 2, (1 + level) / 2)
        return Interval(
            float(self.quantile(number(self), 0.5)),
            min(float(np.quantile(end, low)) for end in ends),
            max(float(np.quantile(end, high)) for end in ends),
        )

    def _with(self, bad: Floats) -> MixtureDraws:
        """One draw for each resample, with this share of mismatches [RESAMPLES]."""
        area = (self.area * (1 - self.bad) + self.bad / 2)[::LEAKS]  # of own over planted
        return replace(
            self,
            weight=np.full(len(bad), 1 / len(bad)),
            bad=bad,
            area=np.clip((area - bad / 2) / (1 - bad), 0, 1),
            resample=np.arange(len(bad)),
        )

    def share(self) -> Interval:
        """Share of mismatches. The upper end is never below the mixture bound: whatever the good scores are, the share is at
        most own / planted below any threshold; the threshold is one that 40 % of the planted scores are below."""
        drawn = self.interval(self.bad)
        return Interval(drawn.value, drawn.low, max(drawn.high, float(np.quantile(self._bounds(), 0.975))))

    def _bounds(self) -> Floats:
        """Mixture bound of each resample, see `share`: [RESAMPLES]."""
        at = min(int(np.searchsorted(self.planted.mean(0), 0.4)), len(self.edges) - 1)
        return np.minimum(1, self.own[:, at] / np.maximum(self.planted[:, at], 1e-12))

    def match(self, bad: float | None = None) -> Isotonic:
        """P(match) of a score: 1 - bad / ratio. bad: the share of mismatches; None: its median."""
        bad = float(self.quantile(self.bad, 0.5)) if bad is None else bad
        chance = 1 - np.minimum(1, bad / np.maximum(self.ratio, 1e-12))
        return Isotonic(self.edges, (chance[:-1] + chance[1:]) / 2)

    def doubted(self) -> MixtureDraws:
        """These draws and the widened ones, which have the weight `DOUBT`."""
        wide = self.widened()
        return replace(
            self,
            weight=np.r_[self.weight * (1 - DOUBT), wide.weight * DOUBT],
            bad=np.r_[self.bad, wide.bad],
            area=np.r_[self.area, wide.area],
            resample=np.r_[self.resample, wide.resample],
        )

    def conditioned(self, below: float, bad: int, count: int) -> MixtureDraws:
        """The draws weighted by the likelihood of labels: `bad` of `count` pairs, drawn at random below a threshold, are bad.

        Only their number counts: it does not depend on the shape of the low tail, in which planted mismatches and the set's
        own may differ."""
        share = self.precision()[:, min(int(np.searchsorted(self.edges, below)), len(self.edges) - 1)]
        share = np.clip(share, 0.01, 0.99)
        log = bad * np.log(share) + (count - bad) * np.log1p(-share)
        weight = self.weight * np.exp(log - log.max())
        return replace(self, weight=weight / weight.sum())

    def widened(self) -> MixtureDraws:
        """MixtureDraws without the model of the floor: the share of mismatches is anywhere between 0 and the mixture bound,
        and with probability `NONE` there is no mismatch at all."""
        highest = self._bounds()[self.resample]
        rank = np.argsort(self.bad, kind="stable").argsort() / (len(self.bad) - 1)
        part = np.maximum(0, rank - NONE) / (1 - NONE)
        bad = np.minimum(highest * part, 1 - 1e-6)
        return replace(
            self,
            bad=bad,
            area=np.clip((self.area * (1 - self.bad) + self.bad / 2 - bad / 2) / (1 - bad), 0, 1),
        )


def draw(own: Floats, planted: Floats, owner: NDArray[np.int64] | None = None, seed: int = 0) -> MixtureDraws:
    """Draw the share of mismatches and the distribution functions, given the scores.

    own [n], planted [m]: scores of the set's own pairs and of planted mismatches. owner [n]: picture of each own pair; whole
    pictures are resampled, since the texts of a picture are often wrong together. Time is linear in n + m, but for sorting.
    """
    random = np.random.default_rng(seed)
    bins = Bins.of(own, planted)
    owner = np.arange(len(own)) if owner is None else np.unique(owner, return_inverse=True)[1]
    mine = _grouped(bins.index(own), owner, len(bins.rank), random)
    theirs = _grouped(bins.index(planted), np.arange(len(planted)), len(bins.rank), random)
    rows = [
        np.concatenate(pair)
        for pair in zip(_resampled(mine, theirs, random), _halved(mine, theirs), _added(mine, theirs))
    ]
    floors, ratios = fit_ratio(bins.rank, *rows)
    own_share, planted_share = (
        counts[1 : RESAMPLES + 1] / counts[1 : RESAMPLES + 1].sum(1, keepdims=True) for counts in rows
    )
    own_below, planted_below = own_share.cumsum(1), planted_share.cumsum(1)
    area = (own_share * (planted_below - planted_share / 2)).sum(1)
    fitted, checks = floors[1 : RESAMPLES + 1], floors[RESAMPLES + 1 :]
    strength = np.clip((area - fitted / 2) / (1 - fitted), 0.5, 1)
    bound = np.minimum(1, LEAST_LEAK + LEAK * (1 - strength) ** 2)
    resample = np.repeat(np.arange(RESAMPLES), LEAKS)
    # squares, as most scorers stay far below the bound
    part = random.permuted(np.tile((np.arange(LEAKS) + 0.5) / LEAKS, (RESAMPLES, 1)), axis=1) ** 2
    rest = (bound[:, None] * part).ravel()
    bad = np.clip((fitted[resample] - rest) / (1 - rest), 0, 1 - 1 / len(own))
    return MixtureDraws(
        bins.edges, np.full(len(bad), 1 / len(bad)), bad, np.clip((area[resample] - bad / 2) / (1 - bad), 0, 1),
        own_below[:, :-1], planted_below[:, :-1], resample, rising(ratios[0], rows[1][0] + 1e-9),
        float(np.median(bound)), float(fitted.std()), (float(checks[0]), float(checks[1])),
        _moved(rows[0][0].sum(), rows[0][-len(STEPS) - 1 :].sum(1), checks[-len(STEPS) - 1 :]),
    )  # fmt: skip


def _grouped(
    index: NDArray[np.int64], owner: NDArray[np.int64], bins: int, random: np.random.Generator
) -> Floats:
    """Counts [G bins] of groups of owners, which are dealt at random."""
    count = int(owner.max()) + 1
    groups = min(GROUPS, count)
    dealt = random.permutation(count) % groups
    table = np.bincount(dealt[owner] * bins + index, minlength=groups * bins)
    return table.reshape(groups, bins).astype(np.float64)


def _resampled(mine: Floats, theirs: Floats, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Counts of own and planted scores [1 + RESAMPLES bins]: of all, and of groups drawn with replacement."""
    tables = []
    for table in (mine, theirs):
        weights = random.multinomial(len(table), np.full(len(table), 1 / len(table)), RESAMPLES)
        tables.append(np.concatenate([table.sum(0)[None], weights @ table]))
    return tables[0], tables[1]


def _halved(mine: Floats, theirs: Floats) -> tuple[Floats, Floats]:
    """Counts of the two halves of the pictures, each with all planted scores: [2 bins]."""
    return np.stack([mine[::2].sum(0), mine[1::2].sum(0)]), np.stack([theirs.sum(0)] * 2)


def _added(mine: Floats, theirs: Floats) -> tuple[Floats, Floats]:
    """Counts for the check by known mismatches: own scores with 0 and then STEPS of one half of the planted ones added, against the
    other half: [1 + len(STEPS) bins]."""
    known, own = theirs[1::2], mine.sum(0)
    parts = [0.0, *(min(1.0, step * own.sum() / known.sum()) for step in STEPS)]
    added = [own + known[: int(round(part * len(known)))].sum(0) for part in parts]
    return np.stack(added), np.stack([theirs[::2].sum(0)] * len(parts))


def _moved(count: float, counts: Floats, floors: Floats) -> list[tuple[float, float, float]]:
    """See `MixtureDraws.steps`: own is 1 - d of the whole after the addition of d."""
    added = [float((total - count) / total) for total in counts]
    return [(d, float(floors[0] * (1 - d) + d), float(floor)) for d, floor in zip(added[1:], floors[1:])]
