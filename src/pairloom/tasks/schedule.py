"""Schedule of a race: the order in which rounds are most informative, and the prediction of all rounds from the first ones.
It is learnt without labels, from similar decisions whose rounds were all run.

The differences between candidates are modelled as a normal vector over the rounds, times a scale of each decision (a
multivariate t). Its covariance is that of the centred scores, shrunk towards its diagonal as far as its entries differ
between decisions (Schäfer and Strimmer, 2005); the order is that of a pivoted Cholesky factorisation, which takes the round
that leaves the least variance of the sum. From few decisions the variance is underestimated: each half of the decisions
predicts the other half, and the remaining variance is scaled by the error of that prediction.

C candidates, R rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LEAST = 8  # decisions that a schedule is learnt from
PRIOR = 4.0  # rounds for which the usual scale counts in the estimate of a decision's scale


@dataclass(frozen=True)
class Schedule:
    """Order of rounds and their joint distribution. order [R]: the rounds, the most informative first. whitener [R R]: lower
    triangular; whitener @ scores (in this order) are the innovations, the part of each round that those before it do not
    predict, of variance 1 for a decision of the usual scale. shares [R]: the contribution of an innovation to the sum of all
    rounds. slack: factor by which the squared errors of its predictions exceed their variance on other decisions.
    """

    order: NDArray[np.int64]
    whitener: Array
    shares: Array
    slack: float = 1.0

    @classmethod
    def learnt(cls, tables: Sequence[NDArray[np.floating]]) -> Schedule:
        """Learn a schedule from the scores [C R] of decisions; decisions whose candidates never differ are left out. Decisions
        about the same pictures should be neighbours, so that the two halves have different pictures.

        ValueError for fewer than LEAST decisions of two candidates or more.
        """
        gaps = [table.astype(np.float64) - table.mean(0, dtype=np.float64) for table in tables]
        gaps = [gap for gap in gaps if len(gap) > 1 and gap.any()]
        if len(gaps) < LEAST:
            raise ValueError(f"a schedule is learnt from {LEAST} decisions or more, these are {len(gaps)}")
        halves = gaps[: len(gaps) // 2], gaps[len(gaps) // 2 :]
        wrong = [cls._fitted(one)._wrong(other) for one, other in (halves, halves[::-1])]
        return replace(cls._fitted(gaps), slack=max(1.0, float(np.mean(wrong))))

    @classmethod
    def _fitted(cls, gaps: Sequence[Array]) -> Schedule:
        """Fit a schedule to centred scores, without slack."""
        scales = np.array([np.square(gap).mean() for gap in gaps])
        each = [gap.T @ gap / (len(gap) - 1) / scale for gap, scale in zip(gaps, scales)]
        order, columns = _pivoted(_shrunk(each) * np.exp(np.log(scales).mean()))
        whitener = np.linalg.inv(columns[order]).astype(np.float64)
        return cls(order, whitener, columns.sum(0))

    def _wrong(self, gaps: Sequence[Array]) -> float:
        """Ratio of the squared errors of its predictions on other decisions to their variance, averaged over the first half of
        the rounds (after them little variance is left)."""
        first = np.arange(1, self.rounds // 2 + 1)
        limits = []
        for gap in gaps:
            innovations = self.innovations(gap[:, self.order])
            sums = np.cumsum(innovations * self.shares, 1)
            more = len(gap) / (len(gap) - 1)  # centred rows vary less
            scale = (PRIOR + more * np.cumsum(np.square(innovations), 1)) / (
                PRIOR + np.arange(1, self.rounds + 1)
            )
            errors = more * np.square(sums[:, -1:] - sums)[:, first - 1] / scale[:, first - 1]
            limits.append(errors.mean(0) / [self.open(int(done)) for done in first])
        return float(np.mean(limits))

    @property
    def rounds(self) -> int:
        """Number of rounds, R."""
        return len(self.order)

    def innovations(self, scores: Array) -> Array:
        """Innovations [C n] of the scores [C n] of the first n rounds in this order."""
        done = scores.shape[1]
        whitened: Array = scores @ self.whitener[:done, :done].T
        return whitened

    def sums(self, innovations: Array) -> Array:
        """Expected sum over all rounds [C], up to a constant that all candidates share."""
        totals: Array = innovations @ self.shares[: innovations.shape[1]]
        return totals

    def open(self, done: int) -> float:
        """Variance of the sum of all rounds after the first `done`, for a decision of the usual scale."""
        return self.slack * float(np.square(self.shares[done:]).sum())


def _shrunk(each: Sequence[Array]) -> Array:
    """Shrinkage estimate of a covariance: the mean of covariances, with its correlations shrunk by the share of their squares
    that is chance."""
    mean = np.mean(each, 0)
    deviation = np.sqrt(np.diag(mean).clip(min=1e-12 * np.diag(mean).max()))
    scale = np.outer(deviation, deviation)
    chance = sum(np.square(one / scale - mean / scale) for one in each) / (len(each) * (len(each) - 1))
    off = ~np.eye(len(mean), dtype=bool)
    whole = np.square(mean / scale)[off].sum()
    kept = 1 - min(1.0, chance[off].sum() / whole) if whole > 0 else 0.0  # type: ignore[index]
    shrunk: Array = np.where(off, kept * mean, np.square(np.diag(deviation)))
    return shrunk


def _pivoted(covariance: Array) -> tuple[NDArray[np.int64], Array]:
    """Pivoted Cholesky factorisation: order [R] and columns [R R] with columns @ columns.T = covariance; column k is 0 for the
    first k of the order."""
    left, order, columns = covariance.copy(), [], []
    smallest = 1e-10 * float(np.diag(covariance).max())
    taken = np.zeros(len(left), bool)
    for _ in range(len(left)):
        variance = np.diag(left).clip(min=smallest)
        explained = np.square(left.sum(1)) / variance
        best = int(np.where(taken, -1.0, explained).argmax())
        column = left[:, best] / np.sqrt(variance[best])
        column[taken] = 0.0
        column[best] = np.sqrt(variance[best])
        taken[best] = True
        order.append(best)
        columns.append(column)
        left -= np.outer(column, column)
    return np.array(order), np.stack(columns, 1)
