"""Bias: numbers by hand, every partition counted, what must not change it, and how often its interval is right."""

import itertools
import math

import numpy as np
import pytest

from pairloom.metrics.bias import association, effect_gap, effect_interval, effect_size, permutation_test
from pairloom.metrics.strata import macro


def test_association_by_hand() -> None:
    # two pleasant phrases, two others: (3 + 1) / 2 - (0 + 2) / 2 and (1 + 1) / 2 - (1 + 4) / 2
    scores = [[3, 1, 0, 2], [1, 1, 1, 4]]
    assert association(scores, 2).tolist() == [1.0, -1.5]
    shifted = np.array(scores) + [[7.0], [-2.0]]  # a prior of each picture, as its unconditional error
    assert association(shifted, 2) == pytest.approx([1.0, -1.5])
    for pleasant in (0, 4):
        with pytest.raises(ValueError, match="both sides"):
            association(scores, pleasant)


def test_effect_size_by_hand() -> None:
    # means 2 and 0; of 1, 3, -1, 1 the mean is 1 and the population variance (0 + 4 + 4 + 0) / 4 = 2
    assert effect_size([1, 3], [-1, 1]) == pytest.approx(2 / math.sqrt(2))
    assert effect_size([-1, 1], [1, 3]) == pytest.approx(-2 / math.sqrt(2))
    assert effect_size([1, 3], [-1, 1], within=[0, 2]) == pytest.approx(2.0)  # over other groups: deviation 1
    assert effect_size([5, 5], [5, 5]) == 0.0
    assert effect_size([1, 1, 1], [0, 0, 0]) == pytest.approx(2.0)  # the most that equal groups can have
    with pytest.raises(ValueError, match="two or more"):
        effect_size([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="finite"):
        effect_size([1.0, math.nan], [1.0, 2.0])


def test_every_partition_is_counted_where_there_are_few() -> None:
    # of the 6 ways to take 2 of 4, sums 11, 12, 13, 12, 13, 14 of 20 + ...: only {5, 9} has the largest sum
    one, two = [9.0, 5.0], [4.0, 2.0]
    assert permutation_test(one, two, two_sided=False) == permutation_test(one, two, two_sided=False)
    assert permutation_test(one, two, two_sided=False).p == pytest.approx(1 / 6)
    assert permutation_test(one, two).p == pytest.approx(2 / 6)  # and its mirror image
    assert (
        permutation_test(two, one, two_sided=False).p == 1.0
    )  # against the sign that was seen: all are as large
    assert permutation_test(one, two).exact
    assert permutation_test([1, 1], [1, 1]).p == 1.0


def test_the_exact_test_is_a_plain_enumeration() -> None:
    random = np.random.default_rng(3)
    values = random.normal(size=9).round(1)  # rounded: ties happen
    one, two = values[:4], values[4:]
    seen = abs(one.mean() - two.mean())
    splits = [set(chosen) for chosen in itertools.combinations(range(9), 4)]
    gaps = [abs(values[list(s)].mean() - values[[i for i in range(9) if i not in s]].mean()) for s in splits]
    assert permutation_test(one, two).p == pytest.approx(np.mean([gap >= seen - 1e-12 for gap in gaps]))


def test_random_partitions_agree_with_all_of_them() -> None:
    random = np.random.default_rng(1)
    one, two = random.normal(0.8, 1, 10), random.normal(0, 1, 10)  # 184,756 splits: drawn
    found = permutation_test(one, two, draws=4000, seed=2)
    every = np.concatenate([one, two]) - np.concatenate([one, two]).mean()
    sums = np.array([every[list(chosen)].sum() for chosen in itertools.combinations(range(20), 10)])
    exact = np.mean(np.abs(sums) >= abs(every[:10].sum()) - 1e-9)
    assert not found.exact and found.p == pytest.approx(exact, abs=3 * math.sqrt(exact * (1 - exact) / 4000))
    assert permutation_test([5.0] * 20, [-5.0] * 20, draws=99).p == pytest.approx(1 / 100)  # never 0


@pytest.mark.parametrize("planted", [0.0, 0.5, -1.2])
def test_the_interval_holds_a_planted_effect_about_as_often_as_it_says(planted: float) -> None:
    # phi ~ N(+-g/2, 1): the spread of both groups is sqrt(1 + g^2 / 4), so that d = g / sqrt(1 + g^2 / 4)
    gap = planted / math.sqrt(1 - planted**2 / 4)
    random = np.random.default_rng(7)
    held = found = 0
    for trial in range(150):
        one, two = random.normal(gap / 2, 1, 40), random.normal(-gap / 2, 1, 40)
        interval = effect_interval(one, two, resamples=400, seed=trial)
        held += interval.low <= planted <= interval.high
        found += not interval.low <= 0 <= interval.high
    assert 0.89 <= held / 150 <= 0.99  # 95 % by name
    assert found / 150 <= 0.11 if planted == 0 else found / 150 >= 0.5


def test_macro_by_hand() -> None:
    # classes a: (1 + 0 + 1 + 0) / 4 = 1/2, b: 1: mean 3/4, where the plain mean is 3/5
    found = macro([1, 0, 1, 0, 1], ["a", "a", "a", "a", "b"])
    assert found.value == pytest.approx(0.75)
    assert found.low == pytest.approx(0.5) and found.high == pytest.approx(
        1.0
    )  # a can be all wrong or all right, b is 1
    together = macro([1, 1, 0, 0], ["a"] * 4, groups=["x", "x", "y", "y"])
    assert (together.value, together.low, together.high) == (
        0.5,
        0.0,
        1.0,
    )  # two pictures, not four questions
    assert macro([1, 1, 1], ["a", "b", "b"]).low == 1.0
    with pytest.raises(ValueError, match="one length"):
        macro([1, 2], ["a"])


def test_the_gap_of_two_judges_by_hand() -> None:
    """Sizes of sqrt 2 and -sqrt 2: no gap in size. One that tells all apart (2) against one that tells nothing (0): 2."""
    one = ([1, 3], [-1, 1])
    assert effect_gap(one, one[::-1])[0].value == pytest.approx(0)
    sure, blank = ([1.0] * 6, [0.0] * 6), ([5.0] * 6, [5.0] * 6)
    gap, p = effect_gap(sure, blank, resamples=99)
    assert (gap.value, gap.low, gap.high) == pytest.approx((2, 2, 2)) and p == pytest.approx(2 / 100)
    assert effect_gap(blank, sure, resamples=99)[0].high == pytest.approx(-2)
    assert effect_gap(blank, blank, resamples=99)[1] == 1.0  # nothing to tell: never significant
    with pytest.raises(ValueError, match="same pictures"):
        effect_gap(sure, ([1.0, 2.0], [0.0, 1.0]))


@pytest.mark.parametrize(("size", "other"), [(1.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_a_gap_is_found_where_it_is_and_hardly_where_it_is_not(size: float, other: float) -> None:
    """Two judges of the same 40 + 40 pictures, whose noises are half the same: 120 sets; .05 of them may be wrong, give or
    take 3 binomial deviations (.06); a gap of 1 is found in most."""
    random = np.random.default_rng(11)
    shift = [d / math.sqrt(1 - d**2 / 4) for d in (size, other)]
    found = 0
    for trial in range(120):
        shared = random.normal(0, 0.7, (2, 40))
        judges = [
            [shared[side] + random.normal(0, 0.7, 40) + (0.99 * gap if side == 0 else 0) for side in (0, 1)]
            for gap in shift
        ]
        gap, p = effect_gap(*judges, resamples=400, seed=trial)
        found += p < 0.05 and not gap.low <= 0 <= gap.high
    assert found / 120 < 0.11 if size == other else found / 120 > 0.8
