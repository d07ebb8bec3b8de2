"""Intervals and paired tests against closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairloom.metrics import compare


def test_wilson_is_the_closed_form():
    # 8 of 10 at z = 1.959964: (.8 + z^2/20 +- z sqrt(.016 + z^2/400)) / (1 + z^2/10)
    z = 1.9599639845400545
    centre, half = (
        (0.8 + z * z / 20) / (1 + z * z / 10),
        z * math.sqrt(0.016 + z * z / 400) / (1 + z * z / 10),
    )
    made = compare.wilson(8, 10)
    assert (made.value, made.low, made.high) == pytest.approx((0.8, centre - half, centre + half))
    assert compare.wilson(0, 10).low == 0 and compare.wilson(0, 10).high > 0.2
    with pytest.raises(ValueError, match="no proportion"):
        compare.wilson(3, 2)


@given(st.integers(1, 300), st.data())
def test_wilson_holds_its_value_and_mirrors(trials, data):
    hits = data.draw(st.integers(0, trials))
    made, other = compare.wilson(hits, trials), compare.wilson(trials - hits, trials)
    assert 0 <= made.low <= made.value + 1e-12 and made.value <= made.high + 1e-12 <= 1 + 1e-12
    assert made.low == pytest.approx(1 - other.high, abs=1e-12)


def test_bootstrap_width_is_that_of_the_normal():
    values = np.random.default_rng(3).normal(5, 2, 4000)
    made = compare.bootstrap(values)
    half = 1.96 * values.std() / math.sqrt(4000)
    assert made.value == pytest.approx(values.mean())
    assert made.high - made.low == pytest.approx(2 * half, rel=0.06)
    assert made == compare.bootstrap(values) and made != compare.bootstrap(values, seed=1)


def test_bootstrap_by_group_is_wider_where_groups_agree():
    values = np.random.default_rng(0).normal(size=200)
    five = np.repeat(values, 5)  # five copies of each item are no new evidence
    alone, grouped = compare.bootstrap(values), compare.bootstrap(five, groups=np.repeat(np.arange(200), 5))
    naive = compare.bootstrap(five)
    assert grouped.high - grouped.low == pytest.approx(alone.high - alone.low, rel=0.1)
    assert (naive.high - naive.low) * 2 < grouped.high - grouped.low


def test_bootstrap_over_runs_sees_their_spread():
    noise = np.random.default_rng(0).normal(size=(3, 500))
    apart = noise * 0.01 + np.array([[-1.0], [0.0], [1.0]])
    made = compare.bootstrap(apart)
    assert made.low < -0.5 and made.high > 0.5  # by items alone it would be +-.001
    agree = compare.bootstrap(np.tile(noise[0], (3, 1)))
    assert agree.high - agree.low == pytest.approx(2 * 1.96 / math.sqrt(500), rel=0.15)


def test_difference_is_paired():
    hard = np.random.default_rng(1).normal(0, 10, 300)
    made = compare.difference(hard + 0.5, hard)
    assert (made.value, made.low, made.high) == pytest.approx((0.5, 0.5, 0.5))
    with pytest.raises(ValueError, match="one shape"):
        compare.difference([1, 2], [1])
    for bad in ([], [np.nan]):
        with pytest.raises(ValueError, match="finite"):
            compare.bootstrap(bad)
    with pytest.raises(ValueError, match="one label per item"):
        compare.bootstrap([1, 2], groups=[1])


def test_mcnemar_by_hand():
    # 1 gained, 5 lost: 2 * (C(6,0) + C(6,1)) / 2^6 = 14/64
    new = [1, 0, 0, 0, 0, 0, 1, 0]
    old = [0, 1, 1, 1, 1, 1, 1, 0]
    assert compare.mcnemar(new, old) == pytest.approx(14 / 64)
    assert compare.mcnemar(old, new) == pytest.approx(14 / 64)
    assert compare.mcnemar(old, old) == 1
    many = np.arange(5000) % 2  # both tails of a large table stay finite
    assert compare.mcnemar(many, 1 - many) == 1
    assert compare.mcnemar(np.ones(5000), np.zeros(5000)) < 1e-300


def test_holm_by_hand():
    # sorted .01 .02 .03 .04 -> .04 .06 .06 .06
    assert compare.holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert compare.holm([]) == [] and compare.holm([0.9, 0.8]) == [1, 1]


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_never_helps(p_values):
    adjusted = compare.holm(p_values)
    assert all(q >= p for p, q in zip(p_values, adjusted)) and max(adjusted) <= 1
    ordered = [adjusted[i] for i in np.argsort(p_values, kind="stable")]
    assert ordered == sorted(ordered)
