"""What VL-BERT says of itself, sentence by sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pairloom.data.batch import Batch
from pairloom.systems import _fusion as fusion
from pairloom.systems import vl_bert


def built(**changes) -> vl_bert.System:
    torch.manual_seed(0)
    system = vl_bert.System(replace(vl_bert.TINY, **changes)).eval()
    with torch.no_grad():
        for parameter in system.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return system


@pytest.fixture(scope="module")
def system() -> vl_bert.System:
    return built()


@pytest.fixture(scope="module")
def batch() -> Batch:
    return vl_bert.example(vl_bert.TINY, torch.Generator().manual_seed(3))


def test_paper_sizes() -> None:
    c = vl_bert.Config()
    assert (c.features + c.coordinates, c.width, c.depth, c.classes) == (4096, 768, 12, 1601)
    with torch.device("meta"):
        system = vl_bert.System(c)
    assert system.visual.project.weight.shape == (768, 4096)
    assert system.abilities == () and system.answer_head is None
    assert vl_bert.RECIPES["base"]["lr"] == pytest.approx(1e-7 * 256)


def test_at_first_it_is_a_bert_without_pictures(batch) -> None:
    """The gain of the visual features begins at zero: other regions change no word."""
    torch.manual_seed(0)
    fresh = vl_bert.System(vl_bert.TINY).eval()
    assert not fresh.word_norm.weight.any() and not fresh.region_norm.weight.any()
    regions = fusion.regions_of(batch)
    with torch.no_grad():
        one, _ = fresh._read(batch.texts, regions)
        other, _ = fresh._read(batch.texts, replace(regions, features=regions.features + 1))
    assert torch.equal(one, other)


@torch.no_grad()
def test_sines_of_a_box_by_hand(system) -> None:
    """Centre (.3, .5) and sides (.2, .6), in hundredths: two speeds, sine then cosine of each number."""
    boxes, features = torch.tensor([[[0.2, 0.2, 0.4, 0.8]]]), torch.zeros(1, 1, 24)
    speeds = torch.tensor([1.0, 1000**-0.5])
    waves = []
    for number in (30.0, 50.0, 20.0, 60.0):
        waves += [*(number * speeds).sin(), *(number * speeds).cos()]
    expected = F.relu(system.visual.project(torch.cat([torch.stack(waves), features[0, 0]])))
    torch.testing.assert_close(system.visual(features, boxes)[0, 0], expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_words_carry_the_whole_picture(system, batch) -> None:
    """With all attention cut, a word still knows the mean of the regions, and a region only itself."""
    read = []
    hook = system.stack.register_forward_hook(lambda _, inputs, __: read.append(inputs[0]))
    regions = fusion.regions_of(batch)
    moved = regions.features.clone()
    moved[:, 0] += 1.0
    system._read(batch.texts, regions)
    system._read(batch.texts, replace(regions, features=moved))
    hook.remove()
    changed = (read[0] - read[1]).abs().amax(-1) > 1e-5
    assert changed[:, :8].all() and changed[:, 8:10].all(), "words, the whole picture and the first region"
    assert not changed[:, 10:].any()


@torch.no_grad()
def test_all_regions_share_one_position_behind_the_text(system, batch) -> None:
    """Text of three tokens: its regions are at position 3 and [END] at 4, whatever the padding of the batch is."""
    read = []
    hook = system.stack.register_forward_hook(lambda _, inputs, __: read.append(inputs[0]))
    regions = fusion.regions_of(batch)
    system._read(batch.texts, regions)
    order = torch.tensor([2, 1, 0, 3, 4])
    turned = replace(
        regions,
        features=regions.features[:, order],
        boxes=regions.boxes[:, order],
        mask=regions.mask[:, order],
    )
    system._read(batch.texts, turned)
    hook.remove()
    torch.testing.assert_close(read[0][:, 9:14][:, order], read[1][:, 9:14])
    end = system.end_row + system.text.positions.weight[4] + system.text.segments.weight[2]
    torch.testing.assert_close(read[0][3, -1], system.text.norm(end))


def test_a_hidden_region_leaves_the_mean_first(system, batch) -> None:
    """A leak otherwise: the whole picture, which every word carries, would still hold its features."""
    regions = fusion.regions_of(batch)
    masked = torch.zeros(regions.mask.shape, dtype=torch.bool)
    masked[:, 0] = True
    moved = regions.features.clone()
    moved[:, 0] += 5.0
    with torch.no_grad():
        one, _ = system._read(batch.texts, regions, masked)
        other, _ = system._read(batch.texts, replace(regions, features=moved), masked)
        seen, _ = system._read(batch.texts, replace(regions, features=moved))
        plain, _ = system._read(batch.texts, regions)
    assert torch.equal(one, other) and (seen - plain).abs().max() > 1e-3


@torch.no_grad()
def test_a_hidden_region_swaps_its_embedding_too(system, batch) -> None:
    read = []
    hook = system.stack.register_forward_hook(lambda _, inputs, __: read.append(inputs[0]))
    regions = fusion.regions_of(batch)
    masked = torch.zeros(regions.mask.shape, dtype=torch.bool)
    masked[0, 1] = True
    system._read(batch.texts, regions, masked)
    hook.remove()
    visual = system.region_norm(system.visual(system.hidden[None, None], regions.boxes[:1, 1:2]))[0, 0]
    count = int(batch.texts.mask[0].sum())
    row = system.masked_row + visual + system.text.positions.weight[count] + system.text.segments.weight[2]
    torch.testing.assert_close(read[0][0, 8 + 1 + 1], system.text.norm(row))


def test_three_losses_and_no_matching(system, batch) -> None:
    assert set(system.losses(replace(batch, labels=None))) == {"text", "mlm", "regions"}
    assert set(system.losses(batch)) == {"text", "mlm", "regions", "answer"}
    alone = system.losses(replace(batch, regions=None))
    assert set(alone) == {"text"}
    torch.testing.assert_close(alone["text"], system.losses(batch)["text"])
    assert set(built(alone=0.0).losses(replace(batch, labels=None))) == {"mlm", "regions"}


def test_a_text_without_a_picture_has_a_row_of_its_own(system, batch) -> None:
    system.losses(replace(batch, regions=None))["text"].backward()
    assert system.no_picture.grad.abs().max() > 0 and system.visual.project.weight.grad is None
    system.zero_grad()


@torch.no_grad()
def test_an_answer_is_read_at_a_mask_behind_the_question(system, batch) -> None:
    """Segment B, the positions behind the question's own tokens; its row goes through the head of masked words."""
    read = []
    hook = system.stack.register_forward_hook(lambda _, inputs, rows: read.append((inputs[0], rows)))
    logits = system.answer_logits(batch)
    hook.remove()
    inputs, rows = read[0]
    text, visual = system.text, system._pictures(fusion.regions_of(batch), None)[0]
    row = text.words.weight[vl_bert.TINY.mask] + text.positions.weight[3] + text.segments.weight[1]
    torch.testing.assert_close(inputs[3, 8], text.norm(row + system.word_norm(visual[3, 0])))
    head = system.language_head
    expected = system.answer_head(head.norm(F.gelu(head.dense(rows[:, 8]))))
    torch.testing.assert_close(logits, expected)
