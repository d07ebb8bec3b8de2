"""The charts against geometry worked out by hand."""

import re

import pytest

from pairloom.clean.charts import drawable, histogram, interval, reliability, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-5, 6, [-4, -2, 0, 2, 4, 6]),
        (0.13, 0.31, [0.15, 0.2, 0.25, 0.3]),
        (-0.0004, 0.0003, [-0.0004, -0.0002, 0, 0.0002]),
        (1, 1, []),
        (2, 1, []),
        (0, float("inf"), []),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_a_histogram_draws_each_side_by_its_own_share() -> None:
    drawn = histogram(
        {"edges": [0, 1, 2], "own": [30, 10], "planted": [0, 2]}, [[0, 0.0], [2, 0.5], [3, 1.0]], 0.5
    )
    # The tallest share is planted's 1.0, drawn at 1 / 1.06 = 94.34 %; own: 0.75 -> 70.75 %, 0.25 -> 23.58 %.
    assert 'class="own" d="M0 100V29.25H50V76.42H100V100Z"' in drawn
    assert 'class="planted" d="M0 100V100H50V5.66H100V100Z"' in drawn
    assert 'points="0,100 100,50"' in drawn  # the point at 3 lies outside
    assert '<div class="chosen" style="left:25%">' in drawn


def test_a_histogram_without_planted_texts_or_threshold() -> None:
    drawn = histogram({"edges": [0, 1], "own": [3], "planted": [0]})
    assert 'class="planted" d="M0 100V100H100V100Z"' in drawn
    assert "chosen" not in drawn and "curve" not in drawn


@pytest.mark.parametrize(
    "counts",
    [
        None,
        {},
        {"edges": [0, 1], "own": [], "planted": []},
        {"edges": [0, 0], "own": [1], "planted": [1]},
        {"edges": [0, float("nan")], "own": [1], "planted": [1]},
        {"edges": [0, 1], "own": [0], "planted": [0]},
        {"edges": [0, 1, 2], "own": [1, 1], "planted": [1]},
    ],
)
def test_what_cannot_be_drawn_is_not(counts: dict | None) -> None:
    assert not drawable(counts)


def test_reliability_places_bins_and_leaves_empty_ones_out() -> None:
    bins = [
        {"p": 0.9, "rate": 0.8, "n": 4},
        {"p": 0.25, "rate": 0.5, "n": 1},
        {"p": 0.5, "rate": None, "n": 0},
    ]
    drawn = reliability(bins)
    assert 'points="25,50 90,20"' in drawn
    dots = re.findall(r"left:([\d.]+)%;bottom:([\d.]+)%;--size:([\d.]+)px", drawn)
    assert dots == [("25", "50", "10.5"), ("90", "80", "16")]  # 5 + 11 sqrt(n / 4)


def test_an_interval_has_zero_in_its_middle_and_stays_in_its_strip() -> None:
    assert 'style="left:62.5%;right:12.5%"' in interval(0.5, 1, 1.5, 2) and 'style="left:75%"' in interval(
        0.5, 1, 1.5, 2
    )
    assert 'style="left:0%;right:0%"' in interval(-9, 0, 9, 2)
    assert 'style="left:50%"' in interval(0, 0, 0, 0)
