"""What the DALL-E paper says: attention masks and their order, padding embeddings, losses, the evidence lower bound, drawing."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pairloom.blocks.code_attention import AttentionWindow, sequence_mask
from pairloom.blocks.code_drawing import draw_codes
from pairloom.blocks.discrete_vae import GainedBlock, away_from_edges, back_to_edges
from pairloom.data.batch import Texts
from pairloom.data.records import Codes
from pairloom.objectives.discrete_vae import (
    cosine_between,
    logit_laplace_loss,
    relaxed_codes,
    uniform_divergence,
)
from pairloom.systems import dalle
from pairloom.systems.dalle import patterns
from pairloom.verbs import Progress


def system(**changes):
    torch.manual_seed(0)
    built = dalle.System(replace(dalle.TINY, **changes)).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return built


def example(seed: int = 3):
    return dalle.example(dalle.TINY, torch.Generator().manual_seed(seed))


# masks (appendix B.1, figure 11: a grid of 4 x 4)


def test_row_attention_reaches_back_to_the_code_above() -> None:
    mask = AttentionWindow("row", 4).mask()
    assert mask[9].nonzero().flatten().tolist() == [5, 6, 7, 8, 9]  # the previous W, and itself: W + 1
    assert mask[2].nonzero().flatten().tolist() == [0, 1, 2]


def test_column_attention_sees_the_codes_above() -> None:
    mask = AttentionWindow("column", 4).mask()
    assert mask[9].nonzero().flatten().tolist() == [1, 5, 9] and mask[3].nonzero().flatten().tolist() == [3]


def test_the_convolution_wraps_at_the_edges_and_sees_nothing_later() -> None:
    mask = AttentionWindow("convolution", 4, kernel=3).mask()
    assert mask[9].nonzero().flatten().tolist() == [4, 5, 6, 8, 9]
    assert mask[8].nonzero().flatten().tolist() == [3, 4, 5, 7, 8]  # 3 and 7 end the rows before
    wide = AttentionWindow("convolution", 32, kernel=11).mask()
    assert int(wide[-1].sum()) == 5 * 11 + 6  # five rows above, and half a row with itself


def test_words_see_the_words_before_and_codes_the_whole_text() -> None:
    mask = sequence_mask(AttentionWindow("row", 2), 3)
    assert mask[:3, :3].equal(torch.ones(3, 3).tril().bool()) and not mask[:3, 3:].any()
    assert mask[3:, :3].all()


def test_the_layers_are_row_column_row_row_and_a_convolution_at_the_end() -> None:
    built = patterns(dalle.PRESETS["base"])
    assert built[:8] == ["row", "column", "row", "row"] * 2 and built.count("column") == 16
    assert len(built) == 64 and built[-1] == "convolution"
    assert set(patterns(dalle.PRESETS["dense"])) == {"dense"}


@pytest.mark.parametrize("pattern", ["row", "column", "convolution", "dense"])
@pytest.mark.parametrize("side", [1, 2, 5])
def test_what_is_kept_is_what_is_seen(pattern, side: int) -> None:
    window, kept = AttentionWindow(pattern, side, kernel=3), torch.full((side * side,), -1)
    for position in range(side * side):
        kept[window.slot(position)] = position
        assert window.slot(position) < window.room
        seen = kept[: window.room][window.slots(position)].tolist()
        assert sorted(seen) == window.mask()[position].nonzero().flatten().tolist()


def test_rings_are_short() -> None:
    assert (
        AttentionWindow("row", 32).room == 33
        and AttentionWindow("convolution", 32, 11).room == 5 * 32 + 5 + 1
    )


# transformer (section 2.2)


def test_the_paper_s_transformer_has_twelve_billion_parameters() -> None:
    with torch.device("meta"):
        writer = dalle.Writer(dalle.PRESETS["base"])
    count = sum(parameter.numel() for parameter in writer.parameters())
    assert 11.9e9 < count < 12.5e9 and writer.length + writer.side**2 == 1280


def dense_writer(writer, ids, mask, codes):
    """The transformer written out, with every mask as a table of numbers that are added."""
    length, side = writer.length, writer.side
    slots = [
        writer.words.weight[word] if real else writer.pads.weight[at]
        for at, (word, real) in enumerate(zip(ids, mask))
    ]
    slots += [writer.pads.weight[at] for at in range(len(slots), length)]
    x = [slot + writer.places.weight[at] for at, slot in enumerate(slots)]
    for cell, code in enumerate(codes[:-1]):
        x.append(
            writer.codes.weight[code] + writer.rows.weight[cell // side] + writer.columns.weight[cell % side]
        )
    x = torch.stack(x)
    for layer, window in zip(writer.stack.layers, writer.windows):
        add = torch.zeros(len(x), len(x)).masked_fill(
            ~sequence_mask(window, length)[: len(x), : len(x)], -1e9
        )
        attend, feed = layer.attend[0], layer.feed[0]
        h = F.layer_norm(x, x.shape[-1:], attend.norm.weight, attend.norm.bias)
        heads = []
        for head in range(attend.fn.heads):
            width = x.shape[1] // attend.fn.heads
            part = slice(head * width, (head + 1) * width)
            q, k, v = (
                (h @ one.weight.T + one.bias)[:, part]
                for one in (attend.fn.query, attend.fn.key, attend.fn.value)
            )
            heads.append((q @ k.T / math.sqrt(width) + add).softmax(1) @ v)
        x = x + torch.cat(heads, 1) @ attend.fn.out.weight.T + attend.fn.out.bias
        h = F.layer_norm(x, x.shape[-1:], feed.norm.weight, feed.norm.bias)
        x = x + feed.fn(h[None])[0]
    x = writer.norm(x)
    return writer.to_word(x[:length]), writer.to_code(x[length - 1 :])


@torch.no_grad()
@pytest.mark.parametrize("masks", ["sparse", "dense"])
def test_it_equals_a_dense_model_with_the_masks_written_out(masks: str) -> None:
    one, batch = system(masks=masks), example()
    ids, mask = batch.text()
    ours = one.writer(ids, mask, batch.codes.ids)
    for row in (0, 1):
        expected = dense_writer(one.writer, ids[row], mask[row], batch.codes.ids[row])
        for part, whole in zip(expected, ours):
            torch.testing.assert_close(whole[row], part, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_every_unused_slot_has_an_embedding_of_its_own() -> None:
    one = system()
    ids, mask = torch.tensor([[2, 9, 3]]), torch.ones(1, 3, dtype=torch.bool)
    slots = one.writer.embed_text(ids, mask)[0] - one.writer.places.weight
    torch.testing.assert_close(slots[3:], one.writer.pads.weight[3:])
    torch.testing.assert_close(slots[:3], one.writer.words.weight[ids[0]])
    with pytest.raises(ValueError, match="no room in 12 slots"):
        one.writer.embed_text(torch.ones(1, 13, dtype=torch.long), torch.ones(1, 13, dtype=torch.bool))


@torch.no_grad()
def test_words_count_an_eighth_and_codes_the_rest() -> None:
    one, batch = system(), example()
    losses = one.losses(batch, "writer")
    ids, mask = batch.text()
    words, codes = one.writer(ids, mask, batch.codes.ids)
    logs = words[:, : ids.shape[1] - 1].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
    assert float(losses["text"]) == pytest.approx(-float(logs[mask[:, 1:]].mean()) / 8, rel=1e-5)
    right = codes.log_softmax(-1).gather(2, batch.codes.ids[..., None])
    assert float(losses["image"]) == pytest.approx(-float(right.mean()) * 7 / 8, rel=1e-5)


@torch.no_grad()
def test_the_codes_of_pictures_are_the_likeliest_without_noise() -> None:
    one, batch = system(), example()
    mapped = 0.8 * ((batch.images[:, 0] + 1) / 2).clamp(0, 1) + 0.1
    expected = one.codebook.encoder(mapped).argmax(1).flatten(1)
    assert one.codebook.encode(batch.images[:, 0]).equal(expected)
    without = one.code_logits(replace(batch, codes=None))
    stated = one.code_logits(
        replace(batch, codes=Codes(expected, torch.ones_like(expected, dtype=torch.bool)))
    )
    torch.testing.assert_close(without, stated)


def test_the_writer_does_not_train_the_codebook() -> None:
    one, batch = system().train(), example()
    sum(one.losses(replace(batch, codes=None), "writer").values()).backward()
    assert all(value.grad is None for value in one.codebook.parameters())
    assert all(value.grad is not None for value in one.writer.parameters())


# codebook (appendix A)


def test_a_block_counts_one_over_the_depth_squared() -> None:
    block = GainedBlock(8, 8, 8, (3, 3, 3, 1))
    assert block.gain == 1 / 64 and [part.kernel_size[0] for part in block.layers[1::2]] == [3, 3, 3, 1]
    first, *_, last = system().codebook.decoder.groups
    assert [part.kernel_size[0] for part in first.layers[1::2]] == [1, 3, 3, 3]
    assert isinstance(last, GainedBlock)


def test_eight_pixels_a_side_are_one_code() -> None:
    one = system()
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    codes = one.codebook.encode(images)
    assert codes.shape == (2, 16) and one.decode_codes(codes).shape == images.shape
    shares = F.one_hot(codes, 32).float().transpose(1, 2).unflatten(2, (4, 4))
    by_shares, by_codes = (
        one.codebook.decoder(shares),
        one.codebook.decoder.of_codes(codes.unflatten(1, (4, 4))),
    )
    torch.testing.assert_close(by_shares, by_codes, atol=1e-5, rtol=1e-4)


def test_pixels_are_mapped_away_from_the_edges_and_back() -> None:
    values = torch.tensor([0.0, 0.25, 1.0])[:, None, None].expand(3, 2, 2)
    assert away_from_edges(values)[:, 0, 0].tolist() == pytest.approx([0.1, 0.3, 0.9])
    torch.testing.assert_close(back_to_edges(away_from_edges(values)), values)


def test_the_logit_laplace_density_sums_to_one() -> None:
    x = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    images = x[None, None, None].expand(1, 3, 1, -1)
    outputs = torch.cat([torch.full_like(images, 0.7), torch.full_like(images, math.log(0.5))], 1)
    density = torch.exp(-(torch.logit(x) - 0.7).abs() / 0.5) / (2 * 0.5 * x * (1 - x))
    assert float(density.mean()) == pytest.approx(1, abs=1e-3)
    assert float(logit_laplace_loss(images, outputs)) == pytest.approx(-float(density.log().mean()), rel=1e-6)


def test_the_divergence_is_from_the_uniform_distribution() -> None:
    assert float(uniform_divergence(torch.zeros(1, 16, 2, 2))) == pytest.approx(0, abs=1e-6)
    sure = 100 * F.one_hot(torch.tensor([[3]]), 16).float().movedim(-1, 1)[..., None]
    assert float(uniform_divergence(sure)) == pytest.approx(math.log(16), rel=1e-5)


@torch.no_grad()
def test_the_divergence_weighs_beta_over_192_a_cell() -> None:
    one, batch = system(), example()
    one.begin(Progress(10_000, 1.0, 20_000))
    logits = one.codebook.encoder.logits(batch.images[:, 0])
    whole = one.losses(batch, "codebook")
    assert float(whole["uniform"]) == pytest.approx(6.6 / 192 * float(uniform_divergence(logits)), rel=1e-5)


def test_temperature_falls_by_half_a_cosine_and_the_divergence_enters_slowly() -> None:
    assert cosine_between(1.0, 1 / 16, 0, 150) == 1 and cosine_between(1.0, 1 / 16, 150, 150) == 1 / 16
    assert cosine_between(1.0, 1 / 16, 75, 150) == pytest.approx((1 + 1 / 16) / 2)
    assert cosine_between(1.0, 1 / 16, 999, 150) == 1 / 16
    one, batch = system(), example()
    assert float(one.losses(batch, "codebook")["uniform"].detach()) == 0
    c = dalle.PRESETS["base"]
    assert (c.temperature, c.temperature_steps, c.kl, c.kl_steps) == (1 / 16, 150_000, 6.6, 5_000)


def test_relaxed_codes_are_draws_and_nearly_hard_when_cold() -> None:
    logits = torch.randn(1, 4, 50, 50, generator=torch.Generator().manual_seed(1))
    cold = relaxed_codes(logits, 1 / 16, torch.Generator().manual_seed(2))
    warm = relaxed_codes(logits, 1.0, torch.Generator().manual_seed(2))
    torch.testing.assert_close(cold.sum(1), torch.ones(1, 50, 50))
    assert cold.max(1).values.mean() > 0.95 > warm.max(1).values.mean()
    assert cold.argmax(1).equal(warm.argmax(1))  # the same draw
    shares = F.one_hot(cold.argmax(1), 4).float().mean((0, 1, 2))
    torch.testing.assert_close(shares, logits.softmax(1).mean((0, 2, 3)), atol=0.03, rtol=0)


# drawing


@torch.no_grad()
def test_cached_drawing_draws_the_codes_of_an_uncached_loop() -> None:
    one, batch = system(), example()
    seeds = list(range(6))
    chance = torch.stack([torch.rand(16, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    codes = torch.zeros(6, 16, dtype=torch.long)
    for at in range(16):
        codes[:, at] = draw_codes(one.writer(*batch.text(), codes)[1][:, at], chance[:, at])
    torch.testing.assert_close(one.draw(batch, seeds=seeds), one.decode_codes(codes))


@torch.no_grad()
def test_candidates_of_a_text_read_its_keys_together() -> None:
    one, batch = system(), example()
    ids, mask = (part[[1, 4]].repeat_interleave(3, 0) for part in batch.text())
    state = one._candidates(ids, mask)[1]
    assert len(state) == 6 and all(len(layer.text.keys) == 2 for layer in state.layers)
    several = replace(batch, images=None, codes=None, image_ids=None, texts=Texts(ids, mask))
    together = one.draw(several, seeds=[5, 6, 7, 5, 6, 7])
    for row, seed in enumerate((5, 6, 7, 5, 6, 7)):
        alone = replace(several, texts=Texts(ids[[row]], mask[[row]]))
        torch.testing.assert_close(one.draw(alone, seeds=[seed])[0], together[row])


@torch.no_grad()
def test_a_picture_is_completed_from_its_first_codes() -> None:
    one, batch = system(), example()
    drawn = []
    decode = one.decode_codes
    one.decode_codes = lambda codes: drawn.append(codes) or decode(codes)
    one.draw(batch, seeds=range(6), rows=2)
    one.draw(batch, seeds=range(6))
    assert drawn[0][:, :8].equal(batch.codes.ids[:, :8]) and not drawn[0][:, 8:].equal(drawn[1][:, 8:])
    pictures = replace(batch, codes=None)
    one.draw(pictures, seeds=range(6), rows=3)
    assert drawn[2][:, :12].equal(one.codebook.encode(batch.images[:, 0])[:, :12])


@torch.no_grad()
def test_a_picture_of_logits_that_are_no_numbers_is_none() -> None:
    one, batch = system(), example()
    one.writer.words.weight[batch.text()[0][2, 1]] = torch.nan
    drawn = one.draw(batch, seeds=range(6))
    bad = (batch.text()[0] == batch.text()[0][2, 1]).logical_and(batch.text()[1]).any(1)
    assert (
        bad[2]
        and drawn.isnan().flatten(1).all(1).equal(bad)
        and drawn.isfinite().flatten(1).all(1).equal(~bad)
    )


@torch.no_grad()
def test_guidance_moves_logits_away_from_those_of_an_empty_text() -> None:
    one, batch = system(), example()
    assert one.draw(batch, seeds=range(6), guidance=1.0).equal(one.draw(batch, seeds=range(6)))
    ids, mask = batch.text()
    empty = torch.zeros_like(mask)
    empty[:, 0] = True
    stated, free = one.writer.start(ids, mask)[0], one.writer.start(ids, empty)[0]
    chance = torch.stack([torch.rand(16, generator=torch.Generator().manual_seed(seed)) for seed in range(6)])
    first = draw_codes(free + 3 * (stated - free), chance[:, 0])
    drawn = []
    decode = one.decode_codes
    one.decode_codes = lambda codes: drawn.append(codes) or decode(codes)
    one.draw(batch, seeds=range(6), guidance=3.0)
    assert drawn[0][:, 0].equal(first)


def test_codes_are_drawn_by_their_shares() -> None:
    logits = torch.tensor([0.5, 0.3, 0.0, 0.2]).log().expand(4000, 4)
    codes = draw_codes(logits, torch.rand(4000, generator=torch.Generator().manual_seed(0)))
    shares = torch.bincount(codes, minlength=4) / 4000
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.3, 0.0, 0.2]), atol=0.03, rtol=0)
    assert draw_codes(logits[:2], torch.tensor([0.0, 1 - 2**-24])).tolist() == [0, 3]


def test_training_leaves_some_texts_empty_for_guidance() -> None:
    one, batch = system(blank=1.0).train(), example()
    assert float(one.losses(batch, "writer")["text"].detach()) == 0
    assert float(one.eval().losses(batch, "writer")["text"].detach()) > 0
