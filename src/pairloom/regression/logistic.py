"""Logistic regression by damped Newton steps, for tables of few columns.

n rows, P columns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PENALTY = 1e-3  # of the squares of the weights
STEPS, HALVINGS = 30, 30
ENOUGH = 1e-12  # of the loss: steps end where one gains less


def fit_logistic(table: Floats, label: Floats) -> Floats:
    """Weights [P + 1] of P(label = 1) = 1 / (1 + exp(-table @ weights[:-1] - weights[-1])), with a small ridge penalty."""
    table = np.concatenate([table, np.ones((len(table), 1))], 1)
    weights = np.zeros(table.shape[1])
    loss = _loss(table, label, weights)
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-np.clip(table @ weights, -30, 30)))
        curve = (table * (chance * (1 - chance))[:, None]).T @ table
        curve[np.diag_indices(len(curve))] += PENALTY
        step = np.linalg.solve(curve, table.T @ (label - chance) - PENALTY * weights)
        # a whole step of Newton's method can lead far away from rows with long tails
        for _ in range(HALVINGS):
            if (lower := _loss(table, label, weights + step)) <= loss:
                break
            step = step / 2
        else:
            break
        gain, loss, weights = loss - lower, lower, weights + step
        if gain <= ENOUGH * loss:
            break
    return weights


def _loss(table: Floats, label: Floats, weights: Floats) -> float:
    """Penalised negative log-likelihood."""
    odds = table @ weights
    return float((np.logaddexp(0, odds) - label * odds).sum() + PENALTY / 2 * weights @ weights)


def positive_weights(good: Floats, bad: Floats) -> Floats:
    """Weights [P] of a logistic regression of good against bad scores [n P]. A part whose weight would be negative is left out;
    equal weights where all would be."""
    rows = np.concatenate([good, bad])
    label = np.concatenate([np.ones(len(good)), np.zeros(len(bad))])
    used = list(range(rows.shape[1]))
    full = np.zeros(rows.shape[1])
    while used:
        weights = fit_logistic(rows[:, used], label)
        least = int(weights[:-1].argmin())
        if weights[least] >= 0:
            full[used] = weights[:-1]
            return full
        del used[least]
    return np.ones(rows.shape[1])
