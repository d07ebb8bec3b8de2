"""The slow copy and the queue."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pairloom.blocks.momentum import NOBODY, MomentumContrast, Queue, ema_update


def test_follow_by_hand():
    slow, quick = nn.Linear(1, 1), nn.Linear(1, 1)
    with torch.no_grad():
        slow.weight.fill_(1.0)
        quick.weight.fill_(2.0)
    ema_update(slow, quick, 0.9)
    assert slow.weight.item() == pytest.approx(1.1) and quick.weight.item() == 2.0
    with pytest.raises(KeyError):
        ema_update(nn.Bilinear(1, 1, 1), nn.Identity(), 0.9)


@settings(max_examples=40, deadline=None)
@given(pushes=st.lists(st.integers(1, 12), max_size=6), places=st.integers(1, 9))
def test_the_queue_holds_the_last(pushes, places):
    queue, told = Queue(places, 2), []
    for push in pushes:
        ids = torch.arange(len(told), len(told) + push)
        told += ids.tolist()
        rows = ids[:, None].float().expand(-1, 2)
        queue.push(rows, -rows, ids)
    held = queue.ids.tolist()
    assert sorted(held) == sorted(told[-places:] + [NOBODY] * max(0, places - len(told)))
    known = queue.ids != NOBODY
    assert torch.equal(queue.images[known][:, 0], queue.ids[known].float())
    assert torch.equal(queue.texts[known][:, 1], -queue.ids[known].float())
    if known.all():
        assert held[int(queue.position)] == min(held)  # the oldest goes next


def test_the_queue_starts_from_unit_noise():
    torch.manual_seed(0)
    queue = Queue(50, 8)
    torch.testing.assert_close(queue.images.norm(dim=1), torch.ones(50))
    assert (queue.ids == NOBODY).all() and not torch.equal(queue.images, queue.texts)


def test_the_teacher_follows_and_never_learns():
    """Before the first step it is the student, whatever was loaded into that; afterwards it follows by its momentum."""
    student = nn.Linear(2, 2)
    contrast = MomentumContrast(nn.Linear(2, 2), 0, 4, momentum=0.9, alpha=0.4, ramp=2.0)
    contrast.follow(student, 0)
    assert torch.equal(contrast.teacher.weight, student.weight) and contrast.queue is None
    before = student.weight.detach().clone()
    with torch.no_grad():
        student.weight.add_(1.0)
    contrast.follow(student, 1)
    torch.testing.assert_close(contrast.teacher.weight, before + 0.1)
    assert not any(parameter.requires_grad for parameter in contrast.parameters())


def test_soft_targets_ramp_up_linearly():
    contrast = MomentumContrast(nn.Identity(), 0, 4, momentum=0.9, alpha=0.4, ramp=2.0)
    assert [contrast.weight(epoch) for epoch in (0.0, 0.5, 2.0, 9.0)] == [0.0, 0.1, 0.4, 0.4]


def test_candidates_are_the_batch_and_then_the_queue():
    torch.manual_seed(0)
    contrast = MomentumContrast(nn.Identity(), 3, 4, momentum=0.9, alpha=0.4, ramp=2.0)
    new = torch.randn(2, 4), torch.randn(2, 4), torch.tensor([5, 6])
    assert contrast.candidates(new)[2].tolist() == [5, 6, NOBODY, NOBODY, NOBODY]
    contrast.push(new)
    _, texts, ids = contrast.candidates(tuple(part[:1] for part in new))
    assert ids.tolist() == [5, 5, 6, NOBODY] and torch.equal(texts[1:3], new[1])
    alone = MomentumContrast(nn.Identity(), 0, 4, momentum=0.9, alpha=0.4, ramp=2.0)
    alone.push(new)
    assert alone.candidates(new) is new
