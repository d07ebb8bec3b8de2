"""Share of mismatches and false drop rate without labels: closed forms, laws, and synthetic sets whose truth is known."""

import numpy as np
import pytest

from pairloom.metrics import budget
from pairloom.metrics.density_ratio import Bins, fit_ratio


def drawn(seed, share, good, count=2000):
    """Own scores, which of them are bad, planted scores: standard normal mismatches, good scores from `good`."""
    random = np.random.default_rng(seed)
    bad = random.random(count) < share
    own = np.where(bad, random.normal(size=count), good(random, count))
    return own, bad, random.normal(size=2 * count)


GOOD = {
    "normal": lambda random, count: random.normal(3, 1, count),
    "wide": lambda random, count: random.normal(5, 1.5, count),
    "left tail": lambda random, count: 5 - random.gamma(2, 0.7, count),
}


def test_bins_have_equal_mass_in_the_balanced_pool():
    bins = Bins.of(np.arange(100.0), np.arange(100.0, 140.0), 4)
    assert bins.edges.tolist() == [50, 100, 120]  # 50 of 100 own, then all of them, then 20 of 40 planted
    assert bins.index(np.array([49.0, 50.0, 99.0, 139.0])).tolist() == [0, 1, 1, 3]
    assert bins.rank == pytest.approx(
        [-1.1503, -0.3186, 0.3186, 1.1503], abs=1e-4
    )  # quantiles at 1/8, 3/8, 5/8, 7/8


def test_equal_scores_share_a_bin():
    bins = Bins.of(np.zeros(60), np.r_[np.zeros(50), 1.0])
    assert len(bins.rank) == len(bins.edges) + 1 == 2 and set(bins.index(np.zeros(9))) == {0}


def test_a_ratio_of_the_models_own_shape_is_recovered():
    rank = np.linspace(-2.5, 2.5, 100)
    truth = 0.2 + np.exp(-2 + 2 * rank)
    planted = np.full(100, 1000.0)
    own = planted * truth
    floor, ratio = fit_ratio(rank, own[None] * 1e3, planted[None] * 1e3)
    scale = own.sum() / planted.sum()  # ratios are of shares, not of counts
    assert floor[0] * scale == pytest.approx(0.2, rel=0.01) and ratio[0] * scale == pytest.approx(
        truth, rel=0.01
    )


@pytest.mark.parametrize("good", GOOD)
def test_the_intervals_hold_the_truth(good):
    held = []
    for seed, share in enumerate((0.0, 0.05, 0.15, 0.3, 0.5)):
        own, bad, planted = drawn(seed, share, GOOD[good])
        draws = budget.draw(own, planted)
        below, whole = draws.good_below(), draws.share()
        at = int(np.searchsorted(draws.quantile(below, 0.5), 0.05))
        drop, real = draws.interval(below[:, at]), (own[~bad] < draws.edges[at]).mean()
        held.append((whole.low <= bad.mean() <= whole.high, drop.low - 0.005 <= real <= drop.high + 0.005))
    assert np.all(np.mean(held, 0) >= 0.8), held


def test_only_the_order_counts():
    own, _, planted = drawn(0, 0.3, GOOD["normal"], 400)
    one, two = budget.draw(own, planted), budget.draw(np.exp(own / 3), np.exp(planted / 3))
    assert np.array_equal(one.bad, two.bad) and np.allclose(np.exp(one.edges / 3), two.edges)
    assert (np.diff(one.match()(np.linspace(-4, 7, 500))) >= 0).all()


def test_pictures_with_many_texts_widen_the_interval():
    own, _, planted = drawn(0, 0.3, GOOD["normal"], 400)
    many, owner = np.repeat(own, 10), np.repeat(np.arange(400), 10)
    width = [
        interval.high - interval.low
        for interval in (budget.draw(many, planted, who).share() for who in (owner, None))
    ]
    assert width[0] > 1.5 * width[1]


def test_known_mismatches_that_are_added_are_counted():
    own, _, planted = drawn(1, 0.1, GOOD["normal"])
    draws = budget.draw(own, planted)
    for added, expected, floor in draws.steps:
        assert 0.05 < added < 0.2 and floor == pytest.approx(expected, abs=0.03)
    assert draws.halves == pytest.approx((0.1, 0.1), abs=0.05)


def test_a_weak_scorer_leaves_the_share_open():
    own, bad, planted = drawn(0, 0.2, lambda random, count: random.normal(1, 1, count))
    draws = budget.draw(own, planted)
    assert draws.leak > 0.5 and draws.share().low < 0.02 < bad.mean() < draws.share().high
    wide = draws.widened()
    assert (wide.bad == 0).mean() == pytest.approx(0.05, abs=0.002)


def test_labels_narrow_the_share():
    own, bad, planted = drawn(0, 0.2, lambda random, count: random.normal(1, 1, count))
    wide = budget.draw(own, planted).widened()
    limit = float(np.median(own))
    known = wide.conditioned(limit, round(1000 * bad[own < limit].mean()), 1000)
    share = known.interval(known.bad)
    assert share.low <= bad.mean() <= share.high and share.high - share.low < 0.1


def test_quantiles_are_weighted():
    own, _, planted = drawn(0, 0.2, GOOD["normal"], 200)
    draws = budget.draw(own, planted)
    values = np.arange(len(draws.bad), dtype=float)
    assert (
        draws.quantile(values, 0.5) == len(values) / 2 - 1 and draws.quantile(values, 1.0) == len(values) - 1
    )
    assert draws.quantile(np.stack([values, -values], 1), 0.0).tolist() == [0, 1 - len(values)]


def test_the_span_reaches_to_the_mixture_bound():
    count = budget.RESAMPLES * budget.LEAKS
    draws = budget.MixtureDraws(
        edges=np.array([0.0, 1.0]), weight=np.full(count, 1 / count), bad=np.full(count, 0.3), area=np.full(count, 0.9),
        own=np.tile([0.225, 0.5], (budget.RESAMPLES, 1)), planted=np.tile([0.45, 0.8], (budget.RESAMPLES, 1)),
        resample=np.repeat(np.arange(budget.RESAMPLES), budget.LEAKS), ratio=np.ones(3), leak=0.02, spread=0.0,
        halves=(0.3, 0.3), steps=[],
    )  # fmt: skip
    drop = draws.span(lambda some: some.good_below()[:, 1])  # a share of .3, and at most .225 / .45
    assert (drop.value, drop.low, drop.high) == pytest.approx((0.26 / 0.7, 0.1 / 0.5, 0.26 / 0.7))
    precision = draws.span(lambda some: some.precision()[:, 1])
    assert (precision.value, precision.low, precision.high) == pytest.approx((0.48, 0.48, 0.8))
    area = draws.span(
        lambda some: some.area
    )  # .9 .7 + .15 = .78 over own and planted; (.78 - .25) / .5 is above 1
    assert (area.value, area.low, area.high) == pytest.approx((0.9, 0.9, 1.0))


def test_the_false_drop_without_a_leak_is_in_its_span():
    for seed in range(3):
        own, bad, planted = drawn(seed, 0.2, GOOD["normal"])
        draws = budget.draw(own, planted)
        at = int(np.flatnonzero(draws.quantile(draws.good_below(), 0.7) <= 0.05)[-1])
        span = draws.span(lambda some, at=at: some.good_below()[:, at])
        assert span.low <= (own[~bad] < draws.edges[at]).mean() <= span.high < 0.1


def test_the_same_bytes_every_time_and_no_more_memory_for_a_million():
    own, _, planted = drawn(0, 0.2, GOOD["normal"], 300)
    one, two = budget.draw(own, planted), budget.draw(own, planted)
    assert one.bad.tobytes() == two.bad.tobytes()
    large = budget.draw(np.tile(own, 100) + np.arange(30000) * 1e-9, planted)
    assert large.own.size <= 1.01 * 200 * budget.RESAMPLES
