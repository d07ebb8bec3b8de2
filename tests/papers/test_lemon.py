"""What LEMON, and VinVL's captioner before it, say of themselves, sentence by sentence."""

from __future__ import annotations

from dataclasses import replace

import torch

from pairloom.blocks import mask_append as appending
from pairloom.data.batch import Texts
from pairloom.objectives.masked import masking_generator
from pairloom.objectives.masked_count import mask_some
from pairloom.systems import lemon
from pairloom.tasks.decode import Writing, decode

PAPER = lemon


def test_eight_sizes_from_13_to_675_million() -> None:
    """The published totals count BERT's pooler, and no norm of the regions (which VinVL has)."""
    counts = {}
    for name in lemon.SIZES:
        with torch.device("meta"):
            system = lemon.System(lemon.PRESETS[name])
        c = lemon.PRESETS[name]
        counts[name] = round((sum(p.numel() for p in system.parameters()) + c.width**2 - c.width) / 1e6, 1)
    assert counts == {
        "tiny6": 13.4, "tiny12": 18.1, "small12": 34.3, "small24": 55.6, "base": 111.7, "base24": 196.7, "large": 338.3,
        "huge": 675.3,
    }  # fmt: skip


@torch.no_grad()
def test_a_region_is_its_features_and_six_numbers_without_place_or_type(system, batch) -> None:
    regions = batch.regions
    rows, _ = system.context(replace(batch, caption=None))
    order = torch.tensor([0, 1, 2, 3, 4]).flip(0)
    turned = replace(
        regions,
        features=regions.features[:, :, order],
        boxes=regions.boxes[:, :, order],
        mask=regions.mask[:, :, order],
    )
    other, _ = system.context(replace(batch, regions=turned, caption=None))
    torch.testing.assert_close(rows[:, order], other)
    left, top, right, low = regions.boxes[0, 0, 0]
    six = torch.stack([left, top, right, low, right - left, low - top])
    expected = system.regions(torch.cat([regions.features[0, 0, 0], six]))
    torch.testing.assert_close(rows[0, 0], expected)


@torch.no_grad()
def test_tags_begin_behind_the_longest_caption_and_never_see_it(system, batch) -> None:
    places = []
    hook = system.text.register_forward_hook(
        lambda _, inputs, __: places.append((inputs[1], inputs[2].unique().tolist()))
    )
    whole, _ = system.context(batch)
    hook.remove()
    assert places == [(12, [1])] and whole.shape[1] == 7 + 5
    words = batch.texts.ids.clone()
    words[:, 1] = 5 + (words[:, 1] - 4) % 50
    changed = replace(batch, texts=replace(batch.texts, ids=words))
    seen = [system.encode_image(one).encoded for one in (batch, changed)]
    losses = [system.losses(one)["mlm"] for one in (batch, changed)]
    assert all(torch.equal(one.keys, other.keys) for one, other in zip(seen[0].past, seen[1].past))
    assert seen[0].real.shape[1] == 12 and not torch.equal(*losses)


def test_at_most_three_words_are_hidden_the_end_among_them() -> None:
    ids = torch.full((2000, 30), 9)
    lengths = torch.tensor([2, 9, 12, 30] * 500)
    candidates = torch.arange(30) < lengths[:, None]
    hidden = mask_some(ids, candidates, 4, (5, 60), masking_generator(False)).hidden
    assert hidden.sum(1)[:4].tolist() == [1, 1, 2, 3] and not (hidden & ~candidates).any()
    # 500 texts of 9: each place is hidden by chance 1/9; five standard deviations of 500 draws are .07
    share = hidden[1::4, :9].float().mean(0)
    assert (share - 1 / 9).abs().max() < 0.07


@torch.no_grad()
def test_a_hidden_word_is_predicted_from_what_came_before_alone(system, batch) -> None:
    """The words behind it have no influence, unlike in BERT."""
    tokens, mask = batch.text()
    rows, real = system.context(batch)

    def read(ids):
        x = torch.cat([rows, system.text(ids)], 1)
        return system.stack(x, appending.prefix_causal(real, mask))[:, rows.shape[1] :]

    later = tokens.clone()
    later[:, 5:] = 9
    torch.testing.assert_close(read(tokens)[:, :5], read(later)[:, :5], atol=1e-6, rtol=1e-5)


def test_it_writes_through_the_one_decoder(system, batch) -> None:
    """Greedy and beam of one beam agree, and every text is what appending [MASK] by hand writes."""
    alone = replace(batch, texts=None)
    texts = [row[0].tokens for row in decode(system, alone, Writing("greedy", max_length=7, min_length=1))]
    assert texts == [
        row[0].tokens for row in decode(system, alone, Writing("beam", beams=1, max_length=7, min_length=1))
    ]
    for row, text in enumerate(texts):
        ids = [lemon.TINY.cls, *text]
        for at in range(1, len(ids)):
            one = replace(
                batch,
                texts=Texts.unpadded(torch.tensor([ids[:at]])),
                regions=batch.regions[[row]],
                caption=batch.caption[[row]],
            )
            with torch.no_grad():
                assert system.logits(one)[0, -1].argmax() == ids[at]
