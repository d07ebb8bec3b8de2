"""Match: which negatives are drawn, and what a guess costs."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pairloom.objectives.match import hard_negatives, hard_pairs, match_loss
from pairloom.objectives.mismatch import paired_match_loss, random_negatives


def test_chances_are_those_of_the_softmax():
    """Logits 0, ln 3 and a forbidden third: a quarter and three quarters (the floor of 1e-4 aside)."""
    rows = 20000
    similarity = torch.tensor([0.0, math.log(3.0), 9.0]).expand(rows, -1)
    allowed = torch.tensor([True, True, False]).expand(rows, -1)
    drawn, found = hard_negatives(similarity, allowed, torch.Generator().manual_seed(0))
    # softmax over all three is about (1.2e-4, 3.7e-4, 1): the floor of 1e-4 counts as much as the likeness
    weights = similarity[0].softmax(0)[:2] + 1e-4
    share = (drawn == 1).float().mean()
    assert float(share) == pytest.approx(float(weights[1] / weights.sum()), abs=0.01)
    assert found.all() and not (drawn == 2).any()


def test_numbers_that_broke_down_are_left_to_the_loss():
    """What is no number says nothing of its row; the loss made of it tells that training broke down."""
    similarity = torch.tensor([[math.nan, 1.0], [math.inf, 0.0], [0.0, 0.0]])
    drawn, found = hard_negatives(similarity, torch.tensor([[True, False]]).expand(3, -1))
    assert drawn.tolist() == [0] * 3 and found.all()


def test_every_allowed_one_has_a_chance():
    """The floor keeps a negative possible that the softmax says is impossible."""
    similarity = torch.tensor([[-1000.0, 1000.0]]).expand(4, -1)
    drawn, found = hard_negatives(similarity, torch.tensor([[True, False]]).expand(4, -1))
    assert drawn.tolist() == [0] * 4 and found.all()


@settings(max_examples=50, deadline=None)
@given(ids=st.lists(st.integers(0, 3), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_never_the_same_picture_and_never_an_error(ids, seed):
    generator = torch.Generator().manual_seed(seed)
    images, texts = torch.randn(2, len(ids), 4, generator=generator)
    pictures = torch.tensor(ids)
    wrong_text, wrong_image, found = hard_pairs(images, texts, pictures, torch.tensor(0.07), seed)
    assert found.tolist() == [any(other != mine for other in ids) for mine in ids]
    assert (pictures[wrong_text] != pictures)[found].all() and (pictures[wrong_image] != pictures)[
        found
    ].all()
    again = hard_pairs(images, texts, pictures, torch.tensor(0.07), seed)
    assert all(torch.equal(one, other) for one, other in zip((wrong_text, wrong_image, found), again))


def test_loss_by_hand():
    """An undecided head pays ln 2 for each row that counts."""
    total, count = match_loss(
        torch.zeros(4, 2), torch.tensor([1, 0, 0, 1]), torch.tensor([True, True, False, True])
    )
    assert float(count) == 3 and float(total) == pytest.approx(3 * math.log(2))
    sure, _ = match_loss(torch.tensor([[-20.0, 20.0]]), torch.tensor([1]), torch.tensor([True]))
    assert float(sure) < 1e-6


def test_random_negatives_have_another_picture_and_all_are_as_likely():
    first, second = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    other, available = random_negatives(torch.tensor([7, 7]), first)
    assert not available.any()
    draws = torch.stack(
        [random_negatives(torch.tensor([0, 0, 1, 2]), first)[0] for _ in range(2000)]
    )  # row 0 may draw rows 2 and 3, row 2 may draw rows 0, 1 and 3
    assert set(draws[:, 0].tolist()) == {2, 3} and set(draws[:, 2].tolist()) == {0, 1, 3}
    # five standard deviations of a binomial of 2,000 draws with a chance of 1/2 are 112
    assert abs(int((draws[:, 0] == 2).sum()) - 1000) < 112
    assert torch.equal(other, random_negatives(torch.tensor([7, 7]), second)[0])


def test_paired_loss_by_hand():
    """The second row has no other picture: its wrong pair does not count."""
    total, count = paired_match_loss(torch.zeros(2, 2), torch.zeros(2, 2), torch.tensor([True, False]))
    assert float(count) == 3 and float(total) == pytest.approx(3 * math.log(2))
    sure, _ = paired_match_loss(
        torch.tensor([[-20.0, 20.0]]), torch.tensor([[20.0, -20.0]]), torch.tensor([True])
    )
    assert float(sure) < 1e-6
