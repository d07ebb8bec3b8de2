"""Calibration: closed forms, laws, and synthetic sets whose truth is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairloom.metrics import calibrate

numbers = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=30)


def drawn(seed, share_bad, apart, count=2000):
    """Own scores, which of them are bad, planted scores: normals `apart` standard deviations from each other."""
    random = np.random.default_rng(seed)
    bad = random.random(count) < share_bad
    return random.normal(np.where(bad, 0, apart)), bad, random.normal(size=count)


@given(numbers, numbers)
def test_auroc_is_mann_whitney_and_only_the_order_counts(good, bad):
    pairs = np.subtract.outer(good, bad)
    area = calibrate.auroc(good, bad)
    assert area == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert calibrate.auroc(np.exp(np.array(good) / 9), np.exp(np.array(bad) / 9)) == pytest.approx(area)
    assert calibrate.auroc(bad, good) == pytest.approx(1 - area)


@settings(deadline=None)
@given(numbers, numbers)
def test_auroc_interval_holds_its_value(good, bad):
    made = calibrate.auroc_interval(good, bad)
    assert 0 <= made.low <= made.value + 1e-9 and made.value - 1e-9 <= made.high <= 1


def test_auroc_interval_covers_the_truth():
    truth = 0.5 * math.erfc(-1 / 2)  # P(N(1,1) > N(0,1)) = Phi(1 / sqrt 2)
    inside = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        made = calibrate.auroc_interval(random.normal(1, 1, 60), random.normal(0, 1, 80))
        inside += made.low <= truth <= made.high
    assert 183 <= inside <= 198  # 95 % of 200 is 190, sd 3.1
    apart = calibrate.auroc_interval([2, 3], [0, 1])
    assert apart.value == 1 and apart.low < 0.5 and apart.high == 1  # two against two prove nothing


def test_found_at_by_hand():
    good, bad = np.arange(100.0), np.array([-1.0, 2.0, 4.5, 5.0, 60.0])
    assert (
        calibrate.found_at(good, bad, 0.05).value == 3 / 5
    )  # threshold 5: 5 good fall below, and -1, 2, 4.5
    assert calibrate.found_at(good, bad, 0.0).value == 1 / 5
    with pytest.raises(ValueError, match="share"):
        calibrate.found_at(good, bad, 1.0)


def test_found_at_interval_is_the_plain_bootstrap():
    random = np.random.default_rng(0)
    good, bad = random.normal(2, 1, 400), random.normal(0, 1, 300)
    made = calibrate.found_at(good, bad)
    plain = []
    for _ in range(1500):
        g, b = np.sort(random.choice(good, 400)), random.choice(bad, 300)
        plain.append((b < g[20]).mean())
    assert (made.low, made.high) == pytest.approx(np.quantile(plain, (0.025, 0.975)), abs=0.015)


def test_calibration_error_and_brier_by_hand():
    said, true = [0.1, 0.1, 0.9, 0.9], [0, 1, 1, 1]
    assert calibrate.calibration_error(said, true, bins=2) == pytest.approx((2 * 0.4 + 2 * 0.1) / 4)
    assert calibrate.brier(said, true) == pytest.approx((0.01 + 0.81 + 0.01 + 0.01) / 4)
    one = calibrate.reliability([0.5] * 7, [1, 0, 1, 0, 1, 0, 1], bins=3)  # equal probabilities share a bin
    assert len(one) == 1 and one[0].count == 7 and one[0].true == pytest.approx(4 / 7)
    with pytest.raises(ValueError):
        calibrate.brier([1.2], [1])
    with pytest.raises(ValueError):
        calibrate.brier([0.2], [2])


def test_calibration_error_of_the_truth_is_small():
    random = np.random.default_rng(0)
    p = random.random(20000)
    assert calibrate.calibration_error(p, random.random(20000) < p) < 0.02
    assert calibrate.calibration_error(p**2, random.random(20000) < p) > 0.1


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(1, 5)), min_size=1, max_size=12))
def test_rising_is_the_least_squares_fit(rows):
    values, weights = np.array([v for v, _ in rows], float), np.array([w for _, w in rows], float)
    made = calibrate.rising(values, weights)
    assert (np.diff(made) >= -1e-12).all()
    # min-max formula of isotonic regression: max over starts of min over ends of the weighted mean
    mean = lambda a, b: np.average(values[a:b], weights=weights[a:b])  # noqa: E731
    n = len(rows)
    exact = [max(min(mean(a, b) for b in range(i + 1, n + 1)) for a in range(i + 1)) for i in range(n)]
    assert made == pytest.approx(exact)


def test_isotonic_learns_a_known_curve():
    random = np.random.default_rng(0)
    scores = random.normal(size=20000)
    p = 1 / (1 + np.exp(-3 * scores))
    made = calibrate.fit_isotonic(scores, random.random(20000) < p)
    assert np.abs(made(scores) - p).mean() < 0.02
    assert (np.diff(made(np.linspace(-9, 9, 500))) >= 0).all()
    assert calibrate.fit_isotonic([1, 1], [0, 1])([0, 1, 2]).tolist() == [0.5] * 3


@pytest.mark.parametrize("share_bad", [0.0, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("apart", [1.5, 3.0])
def test_mixture_finds_share_and_probability(share_bad, apart):
    made = []
    for seed in range(8):
        own, bad, planted = drawn(seed, share_bad, apart)
        fit = calibrate.mixture_posterior(own, planted)
        assert fit.tells
        assert fit(own).mean() == pytest.approx(1 - fit.bad, abs=0.005)
        made.append((fit.bad, calibrate.calibration_error(fit(own), ~bad)))
    found, error = np.mean(made, 0)
    assert found == pytest.approx(share_bad, abs=0.03)
    assert error < 0.04  # noise of 15 bins alone gives about .02 where the groups overlap


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(-5, 5))
def test_mixture_rises_and_does_not_mind_the_unit(seed, scale, shift):
    own, _, planted = drawn(seed, 0.3, 2.0, 300)
    one = calibrate.mixture_posterior(own, planted)
    two = calibrate.mixture_posterior(own * scale + shift, planted * scale + shift)
    grid = np.linspace(-2, 4, 50)
    assert (np.diff(one(grid)) > 0).all()
    assert two(grid * scale + shift) == pytest.approx(one(grid), abs=0.02)
    assert one.area == two.area


def test_mixture_says_when_it_cannot_tell():
    told = 0
    for seed in range(40):
        own, planted = np.random.default_rng(seed).normal(size=(2, 500))
        told += calibrate.mixture_posterior(own, planted).tells
    assert told <= 4  # 2.5 % by chance
    same = np.arange(50.0)
    assert not calibrate.mixture_posterior(same, same).tells
    assert not calibrate.mixture_posterior([1.0] * 9, [1.0] * 9).tells
    assert not calibrate.mixture_posterior(same - 100, same).tells  # a scorer upside down
    with pytest.raises(ValueError, match="finite"):
        calibrate.mixture_posterior([np.inf], [0.0])
    with pytest.raises(ValueError, match="at least one"):
        calibrate.mixture_posterior([], [0.0])
