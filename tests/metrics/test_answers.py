"""VQA's accuracy, NLVR2's consistency, VisDial's NDCG: hand-derived numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairloom.metrics.answers import CONTRACTIONS, consistency, means, ndcg, plain, vqa_accuracy


@pytest.mark.parametrize(
    ("said", "plainly"),
    [
        ("The Two dogs.", "2 dogs"),
        ("a cat", "cat"),
        ("yes, it is", "yes it is"),  # a mark beside a blank goes
        ("black/white", "black white"),  # one inside a word becomes a blank
        ("10,000", "10000"),  # a number with a comma takes every mark out
        ("10,000 black/white", "10000 blackwhite"),
        ("3.5", "3.5"),
        ("v.i.p.", "vip"),
        ("dont know", "don't know"),
        ("couldnt've", "couldn't've"),
        ("none", "0"),
        ("it's", "it's"),
        ("t-shirt", "t shirt"),
    ],
)
def test_answers_made_comparable(said: str, plainly: str) -> None:
    assert plain(said) == plainly


def test_contractions() -> None:
    assert CONTRACTIONS["shouldn'tve"] == CONTRACTIONS["shouldnt've"] == "shouldn't've"
    assert CONTRACTIONS["yall'd've"] == CONTRACTIONS["y'all'dve"] == "y'all'd've"
    assert "lets" not in CONTRACTIONS and "shes" not in CONTRACTIONS and len(CONTRACTIONS) == 114


@pytest.mark.parametrize(
    ("matching", "accuracy"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)]
)
def test_accuracy_leaves_each_person_out_once(matching: int, accuracy: float) -> None:
    """Of ten people, m say it. Left out: one of the m (then m - 1 match) or one of the others (then m)."""
    people = ["red"] * matching + [f"other {n}" for n in range(10 - matching)]
    by_hand = (matching * min(1, (matching - 1) / 3) + (10 - matching) * min(1, matching / 3)) / 10
    assert vqa_accuracy("red", people) == pytest.approx(by_hand) == pytest.approx(accuracy)


def test_when_all_agree_answers_are_compared_as_they_stand() -> None:
    assert vqa_accuracy("the dog", ["dog"] * 10) == 0.0
    assert vqa_accuracy("the dog", ["dog"] * 9 + ["cat"]) == 1.0
    with pytest.raises(ValueError, match="nobody"):
        vqa_accuracy("dog", [])


@given(st.text(max_size=30))
def test_any_text_can_be_made_comparable(text: str) -> None:
    assert "  " not in plain(text) and not set(plain(text)) & set(';[]"{}()=+\\_-><@`?!')


def test_consistency_counts_whole_groups() -> None:
    assert consistency([True, True, False, True], ["a", "a", "b", "b"]) == 0.5
    assert consistency([True, False], ["a", "b"]) == 0.5
    with pytest.raises(ValueError):
        consistency([], [])


def test_ndcg() -> None:
    """Two relevant of four: the best two of the order, over the ideal 1 + 0.5 / log2(3)."""
    ideal = 1 + 0.5 / math.log2(3)
    assert ndcg([4, 3, 2, 1], [1.0, 0.5, 0, 0]) == 1.0
    assert ndcg([3, 4, 2, 1], [1.0, 0.5, 0, 0]) == pytest.approx((0.5 + 1 / math.log2(3)) / ideal)
    assert ndcg([1, 2, 4, 3], [1.0, 0.5, 0, 0]) == 0.0
    with pytest.raises(ValueError, match="no candidate is relevant"):
        ndcg([1, 2], [0, 0])
    assert means([{"a": 1.0, "b": 2.0}, {"a": 3.0}]) == {"a": 2.0, "b": 2.0}
