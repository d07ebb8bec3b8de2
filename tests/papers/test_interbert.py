"""What InterBERT says of itself, sentence by sentence."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F

from pairloom.objectives import region_losses
from pairloom.objectives.masked import masking_generator
from pairloom.objectives.spans import mask_segments
from pairloom.systems import _fusion as fusion
from pairloom.systems import interbert

PAPER = interbert


def test_interaction_and_text_stream_are_bert_base_and_the_image_stream_has_8_heads() -> None:
    with torch.device("meta"):
        system = interbert.System(interbert.Config())
    layers = [*system.interaction.layers, *system.text_stream.layers]
    assert len(layers) == 12 and {layer.attend[0].fn.heads for layer in layers} == {12}
    assert sum(p.numel() for layer in layers for p in layer.parameters()) == 12 * (12 * 768**2 + 13 * 768)
    assert len(system.image_stream.layers) == 6 and system.image_stream.layers[0].attend[0].fn.heads == 8
    assert system.image_stream.layers[0].feed[0].dropout.p == 0.2 and system.text_pooler.out_features == 1024


@torch.no_grad()
def test_one_stream_then_two_without_exchange(system, batch) -> None:
    """Behind the interaction a word depends on no region any more but through what it read before."""
    rows = []
    hook = system.interaction.register_forward_hook(lambda _, __, out: rows.append(out))
    regions = fusion.regions_of(batch)
    words, places = system.read_pairs(batch.texts, regions)
    hook.remove()
    alone = system.text_stream(rows[0][:, 6:], batch.texts.mask[:, None, None])
    torch.testing.assert_close(words, alone)
    moved, _ = system.read_pairs(batch.texts, replace(regions, features=regions.features + 1))
    assert (words - moved).abs().max() > 1e-3 and places.shape[1] == 6


@torch.no_grad()
def test_the_whole_picture_is_the_sum_of_what_is_not_hidden_over_the_number_of_all(system, batch) -> None:
    """A leak otherwise: it would still hold the hidden region's features."""
    given = []
    hook = system.regions.features.register_forward_hook(lambda _, inputs, __: given.append(inputs[0]))
    regions = fusion.regions_of(batch)
    hidden = torch.zeros_like(regions.mask)
    hidden[:, 0] = True
    system.read_pairs(batch.texts, regions, hidden)
    hook.remove()
    torch.testing.assert_close(given[0][0, 0], regions.features[0, 1:].sum(0) / 5)
    assert not given[0][:, 1].any()
    changed = regions.features.clone()
    changed[:, 0] += 5.0
    one, other = (
        system.read_pairs(batch.texts, replace(regions, features=x), hidden)
        for x in (regions.features, changed)
    )
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_regions_that_overlap_a_hidden_one_are_hidden_with_it(system, batch, monkeypatch) -> None:
    boxes = torch.tensor(
        [
            [0.0, 0.0, 0.5, 0.5],
            [0.0, 0.05, 0.5, 0.55],
            [0.2, 0.2, 0.7, 0.7],
            [0.5, 0.5, 1, 1],
            [0.6, 0, 1, 0.4],
        ]
    )
    regions = replace(
        batch.regions, boxes=boxes.expand(6, 1, 5, 4), mask=torch.ones(6, 1, 5, dtype=torch.bool)
    )
    anchor = torch.zeros(6, 5, dtype=torch.bool)
    anchor[:, 0] = True
    monkeypatch.setattr(interbert, "mask_regions", lambda *_: anchor)
    seen = []
    whole = system.read_pairs
    monkeypatch.setattr(system, "read_pairs", lambda *given: seen.append(given[2]) or whole(*given))
    system.losses(replace(batch, regions=regions))
    # intersection over union with the first: .82, .22, 0, 0
    assert seen[0][0].tolist() == [True, True, False, False, False]


def test_a_tenth_of_the_words_are_anchors_of_segments_of_one_to_three() -> None:
    ids = torch.full((3000, 40), 9)
    candidates = torch.ones_like(ids, dtype=torch.bool)
    candidates[:, 30:] = False
    masked = mask_segments(ids, candidates, 4, (5, 60), masking_generator(False))
    assert not (masked.hidden & ~candidates).any() and masked.hidden.any(1).all()
    # a word is visible if it is no anchor (.9), the one before reaches it by no chance of 2/3 * .1, that before it 1/3 * .1
    share = 1 - 0.9 * (1 - 0.1 * 2 / 3) * (1 - 0.1 / 3)
    assert abs(masked.hidden[:, 10:25].float().mean() - share) < 0.012
    replaced = masked.ids[masked.hidden] == 4
    assert abs(replaced.float().mean() - 0.8) < 0.02


def test_regions_are_learned_of_true_pairs_alone_and_words_of_all(system, batch, monkeypatch) -> None:
    wrong = torch.tensor([True, False, True, True, True, True])
    monkeypatch.setattr(interbert, "mismatched_half", lambda *_: (torch.tensor([1, 1, 3, 2, 5, 4]), wrong))
    targets = []
    loss = region_losses.region_distribution_loss
    monkeypatch.setattr(
        region_losses, "region_distribution_loss", lambda *given: targets.append(given[1]) or loss(*given)
    )
    losses = system.losses(batch)
    assert set(losses) == {"mlm", "match", "regions", "answer"}
    own = batch.regions.class_probabilities[1, 0]
    assert all(any(torch.equal(row, one) for one in own) for row in targets[0]) and len(targets[0])


@torch.no_grad()
def test_pooled_rows_are_multiplied_and_the_released_polarity_is_turned_round(system, batch) -> None:
    words, places = system.read_pairs(batch.texts, fusion.regions_of(batch))
    pooled = F.relu(system.text_pooler(words[:, 0])) * F.relu(system.visual_pooler(places[:, 0]))
    logits = system.match_head(pooled)
    torch.testing.assert_close(system.match(batch), logits[:, 0] - logits[:, 1])
