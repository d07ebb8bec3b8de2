"""Logistic regression against the optimum's own condition, also where undamped Newton steps diverge."""

from __future__ import annotations

import numpy as np
import pytest

from pairloom.regression.logistic import PENALTY, fit_logistic


def tailed(seed: int, rows: int = 300, columns: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Rows with the products of all pairs of their columns, as words have them: nearly separable, with a long tail."""
    draw = np.random.default_rng(seed)
    label = (draw.random(rows) < 0.3).astype(np.float64)
    plain = draw.standard_normal((rows, columns))
    plain[:, 0] += 8 * label * draw.standard_exponential(rows)
    plain = plain.clip(-5, 5)
    pairs = [plain[:, at : at + 1] * plain[:, at:] for at in range(columns)]
    return np.concatenate([plain, *pairs], 1), label


@pytest.mark.parametrize("seed", range(4))
def test_the_gradient_is_zero_and_the_weights_are_moderate(seed: int) -> None:
    table, label = tailed(seed)
    weights = fit_logistic(table, label)
    full = np.concatenate([table, np.ones((len(table), 1))], 1)
    gradient = full.T @ (label - 1 / (1 + np.exp(-full @ weights))) - PENALTY * weights
    assert (
        np.abs(gradient).max() < 1e-3 and np.abs(weights).max() < 1e3
    )  # undamped, seed 1 leads to more than 1e4


def test_rows_that_are_separable_stay_finite() -> None:
    table = np.linspace(-3, 3, 200)[:, None]
    weights = fit_logistic(table, (table[:, 0] > 0).astype(np.float64))
    assert np.isfinite(weights).all() and 5 < weights[0] < 1e3


def test_few_columns_are_fitted_as_by_hand() -> None:
    """One binary column: the weights are the log-odds of its two groups, up to the penalty."""
    table = np.repeat([0.0, 1.0], 1000)[:, None]
    label = np.concatenate([np.repeat([0.0, 1.0], [800, 200]), np.repeat([0.0, 1.0], [300, 700])])
    slope, start = fit_logistic(table, label)
    assert start == pytest.approx(np.log(0.25), abs=1e-3) and start + slope == pytest.approx(
        np.log(7 / 3), abs=1e-3
    )
