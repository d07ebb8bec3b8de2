"""Metrics of drawn pictures by hand: Gaussians of known distance, points on a line, probabilities."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pairloom.metrics import images


def sample(mean: list[float], covariance: np.ndarray, count: int = 50, seed: int = 0) -> np.ndarray:
    """A sample with exactly this mean and this covariance (n - 1 below)."""
    raw = np.random.default_rng(seed).normal(size=(count, len(mean)))
    raw -= raw.mean(0)
    whitened = raw @ np.linalg.inv(np.linalg.cholesky(np.cov(raw.T)).T)
    return whitened @ np.linalg.cholesky(covariance).T + mean


def test_the_distance_of_two_gaussians() -> None:
    one = np.linspace(-1, 1, 21)[:, None]
    unit = one / one.std(ddof=1)
    assert images.frechet_distance(unit, 2 * unit + 3) == pytest.approx(3**2 + (2 - 1) ** 2)
    first, second = np.diag([1.0, 4.0, 9.0]), np.diag([4.0, 1.0, 25.0])
    a, b = sample([0, 0, 0], first), sample([1, 2, 2], second, 30, 1)
    assert images.frechet_distance(a, b) == pytest.approx(9 + 1 + 1 + 4)
    turned = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    assert images.frechet_distance(a @ turned, b @ turned) == pytest.approx(15)
    assert images.frechet_distance(a, a) == pytest.approx(0, abs=1e-10)
    with pytest.raises(ValueError, match="two pictures"):
        images.frechet_distance(a[:1], b)


@pytest.mark.parametrize("count", [5, 40])  # fewer pictures than features, and more
def test_the_distance_where_the_covariances_do_not_commute(count: int) -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(count, 8)) @ random.normal(size=(8, 8)), random.normal(size=(count + 3, 8)) + 1
    roots = np.sqrt(
        np.abs(np.linalg.eigvals(np.cov(a.T) @ np.cov(b.T)))
    )  # the definition: eigenvalues of the product
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T)) - 2 * roots.sum()
    # eigenvalues of the singular product are 0 up to 1e-16 of the largest, and so their roots up to 1e-8
    assert images.frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_the_inception_score() -> None:
    assert images.inception_score(np.eye(4)) == pytest.approx(4)
    assert images.inception_score(np.full((5, 4), 0.25)) == pytest.approx(1)
    p = np.array([[0.8, 0.2], [0.4, 0.6]])
    by_hand = math.exp(np.mean([(row * np.log(row / p.mean(0))).sum() for row in p]))
    assert images.inception_score(p) == pytest.approx(by_hand)
    with pytest.raises(ValueError, match="add up"):
        images.inception_score(np.ones((3, 2)))


def test_clip_scores() -> None:
    np.testing.assert_allclose(images.clip_scores([0.4, -0.3]), [1.0, 0.0])
    # .5 and its best reference .25: 2 * .5 * .25 / .75; a negative side is 0
    np.testing.assert_allclose(
        images.ref_clip_scores([0.2, 0.2, -0.1], [[0.25, 0.1], [-0.2], [0.5]]), [1 / 3, 0, 0]
    )
    with pytest.raises(ValueError):
        images.ref_clip_scores([0.2], [[0.1], [0.2]])


def test_cmmd() -> None:
    near = 2000 * (1 - math.exp(-1 / 200))  # one picture on either side at distance 1
    assert images.cmmd([[0.0, 1.0]], [[1.0, 1.0]]) == pytest.approx(near)
    assert images.cmmd(np.eye(3), np.eye(3)) == pytest.approx(0, abs=1e-9)
    # two points at squared distance 2 beside their first: k(x, x) is (1 + e) / 2, all others (1 + e) / 2 and 1
    e = math.exp(-2 / 200)
    assert images.cmmd(np.eye(2), np.eye(2)[:1]) == pytest.approx(1000 * ((1 + e) / 2 + 1 - (1 + e)))


def test_neighbourhoods_on_a_line() -> None:
    real, drawn = np.array([[0.0], [1], [2], [3]]), np.array([[0.5], [10], [10.5]])
    assert images.precision(real, drawn, 1).tolist() == [1, 0, 0]
    assert images.recall(real, drawn, 1).tolist() == [1, 1, 1, 1]  # all within 9.5 of .5
    assert images.density(real, drawn, 1).tolist() == [2, 0, 0]
    assert images.coverage(real, drawn, 1).tolist() == [1, 1, 0, 0]
    assert images.nearest_distances(real, drawn).tolist() == [0.5, 7, 7.5]
    for metric in (images.precision, images.recall, images.coverage):
        assert metric(real + 1e6, real + 1e6, 1).mean() == 1
    with pytest.raises(ValueError, match="5-th neighbour"):
        images.density(real, drawn)


def test_copying() -> None:
    training, held_out = np.array([[0.0], [10]]), np.array([[1.0], [12], [5]])  # 1, 2 and 5 away
    assert images.copying(training, training, held_out).tolist() == [1, 1]
    assert images.copying(training, [[1.5], [2], [100]], held_out).tolist() == pytest.approx([2 / 3, 0.5, 0])
    assert images.copying(training, held_out, held_out).mean() == pytest.approx(0.5)


def test_diversity() -> None:
    assert images.diversity([np.eye(3), np.ones((2, 3)), [[1, 0], [-1, 0]]]).tolist() == pytest.approx(
        [1, 0, 2]
    )
    with pytest.raises(ValueError, match="two drawings"):
        images.diversity([[[1.0]]])


def test_intervals_hold_the_value_and_shrink() -> None:
    random = np.random.default_rng(0)
    few = images.resampled(
        images.frechet_distance, random.normal(size=(50, 4)), random.normal(size=(50, 4)) + 1
    )
    many = images.resampled(
        images.frechet_distance, random.normal(size=(800, 4)), random.normal(size=(800, 4)) + 1
    )
    for one in (few, many):
        assert one.low < 4 < one.high and one.low < one.value < one.high
    assert many.high - many.low < 0.5 * (few.high - few.low)  # by a quarter in theory
    again = images.resampled(images.frechet_distance, np.eye(4), 2 * np.eye(4), seed=3)
    assert again == images.resampled(images.frechet_distance, np.eye(4), 2 * np.eye(4), seed=3)
