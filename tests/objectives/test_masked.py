"""Masking samplers and the losses of what is hidden, against counts and values that a reader can derive."""

import math

import pytest
import torch

from pairloom.objectives.adversarial import critic_loss, interpolated, painter_loss
from pairloom.objectives.masked import mask_tokens, masked_loss, masking_generator
from pairloom.objectives.region_losses import (
    region_class_loss,
    region_distribution_loss,
    region_feature_loss,
)
from pairloom.objectives.regions import mask_regions, overlapping
from pairloom.objectives.transport import ipot, transport_distance


def test_masking_is_berts_80_10_10() -> None:
    """400,000 tokens: each share lies within five standard deviations of a binomial count."""
    ids = torch.randint(10, 1000, (4000, 100), generator=torch.Generator().manual_seed(1))
    candidates = torch.ones_like(ids, dtype=torch.bool)
    candidates[:, 0] = False
    masked = mask_tokens(ids, candidates, 4, (10, 1000), torch.Generator().manual_seed(2))
    count = int(masked.hidden.sum())

    def near(share: float, expected: float, of: int) -> bool:
        return abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / of)

    assert near(count / int(candidates.sum()), 0.15, int(candidates.sum()))
    read, true = masked.ids[masked.hidden], ids[masked.hidden]
    assert near(float((read == 4).float().mean()), 0.8, count)
    same = 0.1 + 0.1 / 990  # a random word is now and then the same one
    assert near(float((read == true).float().mean()), same, count)
    assert torch.equal(masked.ids[~masked.hidden], ids[~masked.hidden])
    assert not masked.hidden[:, 0].any()


def test_every_text_hides_something_and_none_hides_padding() -> None:
    ids = torch.arange(10, 16).repeat(50, 1)
    candidates = torch.zeros_like(ids, dtype=torch.bool)
    candidates[:, 1:3] = True
    candidates[0] = False  # a text of special tokens alone
    masked = mask_tokens(ids, candidates, 4, (10, 16), masking_generator(False), chance=0.01)
    assert masked.hidden[1:].any(1).all() and not (masked.hidden & ~candidates).any()


def test_evaluation_hides_the_same_and_training_follows_the_seed() -> None:
    def draw(training: bool) -> torch.Tensor:
        return torch.rand(5, generator=masking_generator(training))

    assert torch.equal(draw(False), draw(False))
    torch.manual_seed(1)
    first, second = draw(True), draw(True)
    torch.manual_seed(1)
    assert torch.equal(draw(True), first) and not torch.equal(first, second)


def test_masked_loss_is_cross_entropy() -> None:
    assert float(masked_loss(torch.zeros(3, 8), torch.tensor([1, 2, 3]))) == pytest.approx(math.log(8))
    nothing = masked_loss(torch.zeros(0, 8, requires_grad=True), torch.zeros(0, dtype=torch.long))
    nothing.backward()
    assert float(nothing.detach()) == 0


def test_regions_are_hidden_where_they_are_real() -> None:
    mask = torch.tensor([[True] * 6, [True, True, False, False, False, False]]).repeat(200, 1)
    hidden = mask_regions(mask, torch.Generator().manual_seed(0))
    assert hidden.any(1).all() and not (hidden & ~mask).any()


def test_a_draw_may_hide_no_region() -> None:
    """Two regions: both are seen in .85 ** 2 of the draws, unless the first is hidden then."""
    mask = torch.ones(4000, 2, dtype=torch.bool)
    drawn, forced = (
        mask_regions(mask, torch.Generator().manual_seed(0), 0.15, always) for always in (False, True)
    )
    none = ~drawn.any(1)
    assert none.float().mean().item() == pytest.approx(0.85**2, abs=0.02)
    assert torch.equal(forced[~none], drawn[~none]) and forced[none].tolist() == [[True, False]] * int(
        none.sum()
    )


def test_overlapping_regions_are_found_by_intersection_over_union() -> None:
    boxes = torch.tensor([[[0, 0, 0.4, 1], [0.1, 0, 0.5, 1], [0.35, 0, 0.75, 1], [0.8, 0, 1, 1]]])
    hidden = torch.tensor([[True, False, False, False]])
    # unions .5 and .75, intersections .3 and .05: IoU .6 and .067
    assert overlapping(boxes, hidden).tolist() == [[True, True, False, False]]


def test_region_losses_by_hand() -> None:
    assert float(region_feature_loss(torch.ones(2, 3), torch.zeros(2, 3))) == 1.0
    probabilities = torch.tensor([[0.9, 0.02, 0.08], [0.1, 0.8, 0.1]])
    # background does not count: the targets are classes 2 and 1
    expected = (math.log(1 + math.e + math.e**2) - 2 + math.log(3)) / 2
    logits = torch.tensor([[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]])
    assert float(region_class_loss(logits, probabilities)) == pytest.approx(expected)
    entropies = [-sum(p * math.log(p) for p in row) for row in probabilities.tolist()]
    uniform = sum(math.log(3) - one for one in entropies) / 2
    assert float(region_distribution_loss(torch.zeros(2, 3), probabilities)) == pytest.approx(
        uniform, rel=1e-5
    )
    assert float(region_distribution_loss(probabilities.log(), probabilities)) == pytest.approx(0, abs=1e-6)


def test_transport_has_uniform_marginals_and_finds_the_permutation() -> None:
    """Identical rows in another order: the plan is that permutation, and moving along it costs nothing."""
    order = torch.tensor([2, 0, 3, 1])
    points = torch.eye(4)[None]
    full = torch.ones(1, 4, dtype=torch.bool)
    plan = ipot(1 - points @ points[:, order].transpose(1, 2), full, full)
    assert torch.allclose(plan.sum(1), torch.full((1, 4), 0.25), atol=1e-3)
    assert torch.allclose(plan.sum(2), torch.full((1, 4), 0.25), atol=1e-3)
    assert torch.equal(plan[0].argmax(0), order) and float(plan[0].max(0).values.min()) > 0.24
    assert float(transport_distance(points, points[:, order], full, full)) == pytest.approx(0, abs=1e-2)
    assert float(transport_distance(points, -points, full, full)) > 0.9


def test_padding_moves_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    words, regions = torch.randn(1, 5, 8, generator=generator), torch.randn(1, 6, 8, generator=generator)
    words_mask, regions_mask = torch.arange(5)[None] < 3, torch.arange(6)[None] < 4
    whole = transport_distance(words, regions, words_mask, regions_mask)
    short = transport_distance(words[:, :3], regions[:, :4], words_mask[:, :3], regions_mask[:, :4])
    assert float(whole) == pytest.approx(float(short), rel=1e-5)


def test_adversarial_losses_by_hand() -> None:
    zero = torch.zeros(4)
    assert float(critic_loss(zero, zero)) == pytest.approx(2 * math.log(2))
    assert float(critic_loss(zero, zero, zero)) == pytest.approx(2 * math.log(2))
    sure = torch.full((4,), 50.0)
    assert float(critic_loss(sure, -sure, sure, weight=0.5)) == pytest.approx(25.0)
    assert float(painter_loss(-sure)) == pytest.approx(50.0)
    weights = torch.tensor([1.0, 1.0, 0.5, 0.5])
    assert float(painter_loss(-sure, weights)) == pytest.approx(50.0 * 3 / 4)


def test_interpolated_texts_lie_between_the_halves_of_a_batch() -> None:
    texts = torch.tensor([[0.0, 2.0], [1.0, 1.0], [2.0, 4.0], [5.0, 1.0], [9.0, 9.0]])
    assert interpolated(texts).tolist() == [[1.0, 3.0], [3.0, 1.0]]
    many = torch.cat([torch.zeros(2000, 1), torch.ones(2000, 1)])
    moved = interpolated(many, torch.Generator().manual_seed(0))
    assert -0.5 <= float(moved.min()) < -0.45 and 1.45 < float(moved.max()) <= 1.5
    assert float(moved.mean()) == pytest.approx(0.5, abs=0.03)
