"""What VLP says of itself, sentence by sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pairloom.data.batch import Batch
from pairloom.data.feed import RegionFeed
from pairloom.errors import Mistake
from pairloom.systems import _fusion as fusion
from pairloom.systems import vlp


def built(**changes) -> vlp.System:
    torch.manual_seed(0)
    system = vlp.System(replace(vlp.TINY, **changes)).eval()
    with torch.no_grad():
        for parameter in system.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return system


@pytest.fixture(scope="module")
def system() -> vlp.System:
    return built()


@pytest.fixture(scope="module")
def batch() -> Batch:
    return vlp.example(vlp.TINY, torch.Generator().manual_seed(3))


def seen_by(system: vlp.System, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows that the transformer reads for the loss, and its mask."""
    calls = []
    hook = system.stack.register_forward_hook(lambda _, inputs, __: calls.append(inputs))
    with torch.no_grad():
        system.losses(replace(batch, labels=None))
    hook.remove()
    return calls[0]


def test_the_paper_s_sizes() -> None:
    c = vlp.Config()
    assert vlp.feed(c) == RegionFeed(2048, 100, 1601) and (c.both_ways, c.most_masked, c.masked) == (
        0.25,
        3,
        0.15,
    )
    with torch.device("meta"):
        system = vlp.System(vlp.PRESETS["vqa"])
    assert [tuple(p.shape) for p in system.answer_head.parameters()][::2] == [(1536, 768), (3129, 1536)]
    assert system.regions.places[0].in_features == 1607 and system.regions.features[0].out_features == 2048


@torch.no_grad()
def test_a_region_by_hand(system) -> None:
    """Corners over the farthest edges of all boxes, area, confidence without background; numbers and scores normed apart."""
    features, chances = (
        torch.randn(1, 2, 24),
        torch.tensor([[0.5, 0.1, 0.2, 0.05, 0.05, 0.05, 0.05]]).expand(1, 2, 7),
    )
    boxes = torch.tensor([[[0.1, 0.2, 0.4, 0.5], [0.0, 0.0, 0.8, 0.25]]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    six = torch.tensor([0.125, 0.4, 0.5, 1.0, 0.375 * 0.6, 0.2])
    numbers = torch.cat([F.layer_norm(six, (6,)), F.layer_norm(chances[0, 0], (7,))])
    expected = system.regions.features(features[0, 0]) + system.regions.places(numbers)
    torch.testing.assert_close(system.regions(features, boxes, chances, mask)[0, 0], expected)


def test_under_the_writing_mask_the_picture_never_sees_the_text(batch) -> None:
    system = built(both_ways=0.0)
    words = batch.texts.ids.clone()
    words[:, 2] = 5 + (words[:, 2] - 4) % 50
    outputs = []
    system.stack.register_forward_hook(lambda _, __, rows: outputs.append(rows))
    with torch.no_grad():
        for ids in (batch.texts.ids, words):
            system.losses(replace(batch, labels=None, texts=replace(batch.texts, ids=ids)))
    picture = 5 + 2
    assert torch.equal(outputs[0][:, :picture], outputs[1][:, :picture])
    _, mask = seen_by(system, batch)
    assert mask.shape[1:3] == (1, picture + 7) and not mask[:, :, :picture, picture:].any()
    # the text sees the whole picture, and itself up to each word
    assert mask[0, 0, picture:, :picture].all()
    assert torch.equal(mask[0, 0, picture:, picture:], torch.ones(7, 7, dtype=torch.bool).tril())


def test_the_mask_is_drawn_for_each_text_and_the_segments_go_with_it(batch) -> None:
    """Segments 4 and 5 say that a text is written, 0 and 1 that all see all."""
    system = built(both_ways=0.5)
    kinds = []
    system.text.register_forward_hook(lambda _, inputs, __: kinds.append(inputs[2]))
    system.train()
    writing, calls = 0, 0
    for seed in range(20):
        torch.manual_seed(seed)
        _, mask = seen_by(system, batch)
        first, text = kinds[0][:, 0], kinds[-1][:, 0]
        kinds.clear()
        assert torch.equal(text, first + 1) and set(first.tolist()) <= {0, 4}
        picture_sees = mask[:, 0, 0, 7]  # whether [CLS] sees the first word
        assert torch.equal(picture_sees, first == 0)
        writing, calls = writing + int((first == 4).sum()), calls + 6
    assert abs(writing / calls - 0.5) < 0.23  # five standard deviations of 120 draws


def test_the_end_of_a_text_can_be_hidden_and_its_beginning_is_not_there(batch) -> None:
    system = built(masked=1.0, most_masked=9)
    ids = []
    system.text.register_forward_hook(lambda _, inputs, __: ids.append(inputs[0]))
    system.losses(replace(batch, labels=None))
    assert ids[-1].shape[1] == batch.texts.ids.shape[1] - 1
    changed = (ids[-1] != batch.texts.ids[:, 1:]) & (batch.texts.ids[:, 1:] == vlp.TINY.sep)
    assert changed.any(), "[SEP] became [MASK] or another word in some text"


@torch.no_grad()
def test_answers_from_the_product_of_cls_and_the_first_sep(system, batch) -> None:
    rows = []
    hook = system.stack.register_forward_hook(lambda _, __, out: rows.append(out))
    logits = system.answer_logits(batch)
    hook.remove()
    torch.testing.assert_close(logits, system.answer_head(rows[0][:, 0] * rows[0][:, 6]))
    right = F.one_hot(torch.tensor([3, 0, 5]), 6).float()
    known = logits[[0, 2, 3]]
    expected = -(right * F.logsigmoid(known) + (1 - right) * F.logsigmoid(-known)).sum(1).mean()
    torch.testing.assert_close(system.losses(batch)["answer"], expected)


def test_without_answers_it_only_writes() -> None:
    assert [one.name for one in built(answers=0).abilities] == ["caption"]
    assert [one.name for one in built().abilities] == ["caption", "choose"]


def test_regions_without_classes_are_refused(system, batch) -> None:
    bare = replace(batch, regions=replace(batch.regions, class_probabilities=None))
    assert fusion.regions_of(bare).class_probabilities is None
    with pytest.raises(Mistake, match="class probabilities"):
        system.logits(bare)
