"""Density ratio of the user's own scores to those of planted mismatches: a floor and a smooth rise above it.

own = (1 - pi) good + pi planted, so own / planted = pi + (1 - pi) good / planted. The second term falls to nothing, or to a
small rest, among the lowest scores; the floor that is left is the share of mismatches.

Only ranks count: a strictly rising change of the scores changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BINS = 200
KNOTS = (-1.0, -0.5, 0.0, 0.5, 1.0)  # standard normal scores of the pooled rank
SMOOTH = 2.0  # precision of the normal prior on the change of slope at a knot
PENALTY = np.r_[np.zeros(3), np.full(len(KNOTS), SMOOTH)]  # of the floor's logarithm and the spline
STARTS = (0.01, 0.1, 0.4)  # floors from which the likelihood is climbed
LOWEST = math.log(1e-4)  # a floor that is no longer distinguished from none
STEPS = 60
TOLERANCE = 0.01  # of the log likelihood


@dataclass(frozen=True)
class Bins:
    """Bins of equal mass in the balanced pool, half own and half planted scores.

    edges [K - 1]: scores; bin k holds edges[k - 1] <= score < edges[k]. rank [K]: standard normal score of the middle rank.
    """

    edges: Floats
    rank: Floats

    @classmethod
    def of(cls, own: Floats, planted: Floats, count: int = BINS) -> Bins:
        pool = np.concatenate([own, planted])
        order = np.argsort(pool, kind="stable")
        mass = np.r_[np.full(len(own), 0.5 / len(own)), np.full(len(planted), 0.5 / len(planted))]
        reached = np.cumsum(mass[order])
        cuts = np.searchsorted(reached, np.arange(1, count) / count + 1e-12)
        edges = np.unique(pool[order[cuts]])
        edges = edges[edges > pool[order[0]]]
        inside = np.bincount(np.searchsorted(edges, pool, "right"), mass, len(edges) + 1)
        middle = np.clip(np.cumsum(inside) - inside / 2, 1e-9, 1 - 1e-9)
        normal = NormalDist()
        return cls(edges, np.array([normal.inv_cdf(float(share)) for share in middle]))

    def index(self, scores: Floats) -> NDArray[np.int64]:
        """Bin of each score."""
        return np.searchsorted(self.edges, scores, "right")


def _basis(rank: Floats) -> Floats:
    """Linear spline: 1, x, and max(x - knot, 0) for each knot."""
    return np.stack([np.ones_like(rank), rank, *(np.maximum(rank - knot, 0) for knot in KNOTS)], 1)


def fit_ratio(rank: Floats, own: Floats, planted: Floats) -> tuple[Floats, Floats]:
    """Fit own / planted = floor + exp(linear spline of the rank) by penalised maximum likelihood.

    rank [K]: see `Bins`. own, planted [R K]: counts of R resamples in the bins. Given its bin and the counts, a score is an own
    one with odds (n / m) ratio: a logistic model, whose parameters are found by damped Fisher scoring. The likelihood may
    have two peaks, so it is climbed from several floors and the highest end is kept.
    Returns the floor [R] and the ratio [R K].
    """
    basis = _basis(rank)
    ends = []
    for floor in STARTS:
        start = np.r_[math.log(floor), math.log(1 - floor) - 1, 2.0, np.zeros(len(KNOTS))]
        ends.append(_climb(basis, own, planted, np.tile(start, (len(own), 1))))
    best = np.argmin([loss for loss, _ in ends], axis=0)
    parameters = np.stack([end for _, end in ends])[best, np.arange(len(own))]
    floors = np.exp(parameters[:, 0])
    return floors, floors[:, None] + _rise(basis, parameters)


def _rise(basis: Floats, parameters: Floats) -> Floats:
    return np.exp(np.clip(parameters[:, 1:] @ basis.T, -50, 50))


def _climb(basis: Floats, own: Floats, planted: Floats, parameters: Floats) -> tuple[Floats, Floats]:
    """Damped Fisher scoring (Levenberg 1944) of R fits at once. Returns the penalised -log likelihood [R] and the parameters
    [R P]: the floor's logarithm, then the spline."""
    parameters, damping = parameters.copy(), np.full(len(own), 1e-3)
    loss = _loss(basis, own, planted, parameters)
    active = np.arange(len(own))
    for _ in range(STEPS):
        tried = parameters[active] - _step(
            basis, own[active], planted[active], parameters[active], damping[active]
        )
        tried[:, 0] = np.clip(tried[:, 0], LOWEST, -1e-6)
        new = _loss(basis, own[active], planted[active], tried)
        gain = loss[active] - new
        better = active[gain > 0]
        parameters[better], loss[better] = tried[gain > 0], new[gain > 0]
        damping[active] = np.where(gain > 0, np.maximum(damping[active] / 10, 1e-9), damping[active] * 4)
        active = active[np.where(gain > 0, gain >= TOLERANCE, damping[active] < 1e6)]
        if not len(active):
            break
    return loss, parameters


def _loss(basis: Floats, own: Floats, planted: Floats, parameters: Floats) -> Floats:
    odds = own.sum(1, keepdims=True) / planted.sum(1, keepdims=True)
    odds = odds * (np.exp(parameters[:, :1]) + _rise(basis, parameters))
    return np.asarray(
        ((own + planted) * np.log1p(odds) - own * np.log(odds)).sum(1) + parameters**2 @ PENALTY / 2
    )


def _step(basis: Floats, own: Floats, planted: Floats, parameters: Floats, damping: Floats) -> Floats:
    """Damped Fisher step of each fit, [R P]."""
    both, rise = own + planted, _rise(basis, parameters)
    ratio = np.exp(parameters[:, :1]) + rise
    odds = ratio * own.sum(1, keepdims=True) / planted.sum(1, keepdims=True)
    share, chance = rise / ratio, odds / (1 + odds)  # slopes of the log ratio: 1 - share, and share * basis
    rest, slope, weight = 1 - share, both * chance - own, both * chance * (1 - chance)
    gradient = (
        np.concatenate([(slope * rest).sum(1)[:, None], (slope * share) @ basis], 1) + PENALTY * parameters
    )
    curve = np.empty((len(own), len(PENALTY), len(PENALTY)))
    curve[:, 0, 0] = (weight * rest**2).sum(1)
    curve[:, 0, 1:] = curve[:, 1:, 0] = (weight * rest * share) @ basis
    products = (basis[:, :, None] * basis[:, None]).reshape(len(basis), -1)
    curve[:, 1:, 1:] = ((weight * share**2) @ products).reshape(len(own), basis.shape[1], -1)
    diagonal = np.arange(len(PENALTY))
    curve[:, diagonal, diagonal] = (curve[:, diagonal, diagonal] + PENALTY) * (1 + damping[:, None]) + 1e-6
    return np.asarray(np.clip(np.linalg.solve(curve, gradient[:, :, None])[:, :, 0], -2, 2))
