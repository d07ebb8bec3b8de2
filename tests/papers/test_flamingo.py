"""Flamingo (Alayrac et al., 2022): the sentences of the paper that matter, one test each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from pairloom.blocks.gated import GatedCrossBlock, GatedMask
from pairloom.blocks.resampler import Resampler, Resampling
from pairloom.data.batch import Batch, Texts
from pairloom.systems import clip, flamingo
from pairloom.systems.flamingo import PRESETS, TINY, Config, System

MARK, END = TINY.image_mark, TINY.chunk_end


def made(gates: float = 0.8, **changes: Any) -> System:
    torch.manual_seed(0)
    system = System(replace(TINY, **changes)).eval()
    with torch.no_grad():
        for parameter in system.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        for gated in system.gated:
            gated.attend_gate.fill_(gates)
            gated.feed_gate.fill_(gates)
    return system


def document() -> Batch:
    """Text, picture, text, picture, text: 11 tokens."""
    tokens = torch.tensor([[2, 9, END, MARK, 8, 7, END, MARK, 11, 12, END]])
    images = torch.randn(1, 2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return Batch(images=images, texts=Texts.unpadded(tokens))


# table 5 (appendix A.1): layers, width and heads of the language model; gated layers; every n-th
@pytest.mark.parametrize(
    ("preset", "depth", "width", "gated"), [("3B", 24, 2048, 24), ("9B", 40, 4096, 10), ("80B", 80, 8192, 12)]
)
def test_sizes(preset: str, depth: int, width: int, gated: int) -> None:
    with torch.device("meta"):
        system = System(PRESETS[preset])
    assert (system.language.depth, system.language.width, len(system.gated)) == (depth, width, gated)
    assert (system.config.latents, system.config.resampler_depth, system.config.resampler_width) == (
        64,
        6,
        1536,
    )
    inside = system.config.resampler_inside // system.config.resampler_heads
    assert inside == 96 and system.gated[0].attend.query.out_features == width


def test_the_picture_tower_is_that_of_clip() -> None:
    """The image side alone, under the names that CLIP gives it."""
    assert Config().vision == clip.PRESETS["ViT-L-14"].image_encoder
    assert TINY.vision == clip.TINY.image_encoder
    theirs = {name: value.shape for name, value in clip.System(clip.TINY).state_dict().items()}
    ours = {name: value.shape for name, value in System(TINY).vision.state_dict().items()}
    assert ours == {
        name: shape for name, shape in theirs.items() if name.startswith(("image.", "image_projection."))
    }


def test_both_towers_are_frozen_and_the_bridge_is_not() -> None:
    system = System(TINY)
    learned = {name.split(".")[0] for name, value in system.named_parameters() if value.requires_grad}
    frozen = {name.split(".")[0] for name, value in system.named_parameters() if not value.requires_grad}
    assert learned == {"widen", "resampler", "gated", "marks"} and frozen == {"vision", "language"}
    before = {name: value.clone() for name, value in system.named_parameters()}
    system.train()
    assert not system.vision.training and not system.language.training and system.gated.training
    optimiser = torch.optim.Adam([value for value in system.parameters() if value.requires_grad], 1e-2)
    for _ in range(2):
        sum(system.losses(document()).values()).backward()
        optimiser.step()
    moved = {
        name.split(".")[0]
        for name, value in system.named_parameters()
        if not torch.equal(value, before[name])
    }
    assert moved == learned


@torch.no_grad()
def test_gates_begin_at_zero_and_pictures_then_change_nothing() -> None:
    """ "at initialization, the conditioned model yields the same results as the frozen language model"."""
    torch.manual_seed(0)
    system, batch = System(TINY).eval(), document()
    assert all(float(one.attend_gate) == float(one.feed_gate) == 0 for one in system.gated)
    other = replace(batch, images=-batch.images)
    assert torch.equal(system.logits(batch), system.logits(other))
    system.gated[0].attend_gate.fill_(1.0)
    assert not torch.equal(system.logits(batch), system.logits(other))


@torch.no_grad()
def test_a_text_sees_the_last_picture_before_it_alone() -> None:
    """phi: with the language model's own attention out of the way, picture 1 reaches tokens 3 to 6 and picture 2 those from
    7 on; before the first picture nothing is seen."""
    system, batch = made(), document()
    for layer in system.language.stack.layers:
        layer.attend[0].fn.out.weight.zero_()
    said = system.logits(batch)
    for picture, reached in ((0, range(3, 7)), (1, range(7, 11))):
        images = batch.images.clone()
        images[:, picture] = -images[:, picture]
        moved = (system.logits(replace(batch, images=images)) - said).abs().amax(2)[0] > 1e-5
        assert moved.nonzero()[:, 0].tolist() == list(reached)


@torch.no_grad()
def test_through_the_language_model_all_pictures_before_are_seen() -> None:
    system, batch = made(), document()
    images = batch.images.clone()
    images[:, 0] = -images[:, 0]
    moved = (system.logits(replace(batch, images=images)) - system.logits(batch)).abs().amax(2)[0] > 1e-5
    assert moved.nonzero()[:, 0].tolist() == list(range(3, 11))


@torch.no_grad()
def test_equation_3_by_hand() -> None:
    """y = y + tanh(a) attention(y, x); y = y + tanh(b) ffw(y); a position that sees nothing gets no attention."""
    torch.manual_seed(1)
    block = GatedCrossBlock(8, 6, 2, 10, "squared_relu", 1e-5)
    block.attend_gate.fill_(0.3)
    block.feed_gate.fill_(-0.6)
    y, rows = torch.randn(1, 2, 8), torch.randn(1, 4, 6)
    mask = torch.tensor([[[False] * 4, [False, False, True, True]]])
    seen = block.attend(block.norm(y[:, 1:]), block.attend.project(rows[:, 2:]))
    after = y + torch.tensor(0.3).tanh() * torch.cat([torch.zeros_like(seen), seen], 1)
    hidden = torch.relu(block.norm_feed(after) @ block.feed.up.weight.T) ** 2
    expected = after + torch.tensor(-0.6).tanh() * (hidden @ block.feed.down.weight.T)
    torch.testing.assert_close(block(y, block.attend.project(rows), GatedMask.of(mask)), expected)


@torch.no_grad()
def test_the_resampler_reads_rows_and_latents_whatever_their_number() -> None:
    """ "keys and values are computed from the concatenation of x_f and the latents"; the output has as many rows as latents."""
    torch.manual_seed(2)
    resampler = Resampler(Resampling(8, 1, 2, 8, 3, 4))
    for rows in (torch.randn(2, 1, 5, 8), torch.randn(2, 4, 7, 8), torch.randn(2, 9, 2, 8)):
        assert resampler(rows).shape == (2, 3, 8)
    layer, rows = resampler.layers[0], torch.randn(1, 5, 8)
    asked = layer.norm(resampler.queries[None])
    both = torch.cat([layer.norm_rows(rows), asked], 1)
    x = resampler.queries + layer.attend(asked, layer.attend.project(both))
    x = x + layer.feed(layer.norm_feed(x))
    told = resampler((rows - resampler.times[0])[:, None])
    torch.testing.assert_close(told, resampler.norm(x))


@torch.no_grad()
def test_time_is_learned_and_interpolated() -> None:
    """Frames count in their order; eight learned embeddings serve thirty frames, ends on ends."""
    resampler = Resampler(Resampling(8, 1, 2, 8, 3, 8))
    rows = torch.randn(1, 8, 5, 8)
    assert (resampler(rows) - resampler(rows.flip(1))).abs().max() > 1e-3
    still = rows.clone()
    still[:, :, :] = still[:, :, torch.randperm(5)]
    torch.testing.assert_close(resampler(rows), resampler(still))  # rows of a frame have no other position
    times = resampler._times(30)
    torch.testing.assert_close(times[[0, -1]], resampler.times[[0, -1]])
    torch.testing.assert_close(resampler._times(15)[::2], resampler.times)
    with pytest.raises(ValueError, match="knows no time"):
        Resampler(Resampling(8, 1, 2, 8, 3, 0))(rows)


@torch.no_grad()
def test_films_and_pictures_are_read_alike() -> None:
    """A picture is a film of one frame; a film of three differs from its first frame."""
    system, batch = made(frames=3), document()
    films = batch.images[:, :, None]
    assert torch.equal(system.logits(batch), system.logits(replace(batch, images=films)))
    longer = torch.cat([films, films.flip(-1), -films], 2)
    assert (system.logits(replace(batch, images=longer)) - system.logits(batch)).abs().max() > 1e-4


@torch.no_grad()
def test_more_pictures_than_were_learned_from_can_be_shown() -> None:
    """ "trained on at most 5 images": no parameter knows how many there are."""
    system = made()
    tokens = torch.tensor([[2] + [MARK, 9, END] * 12])
    images = torch.randn(1, 12, 3, 32, 32)
    said = system.logits(Batch(images=images, texts=Texts.unpadded(tokens)))
    state = system.start(Batch(images=images))
    first, state = system.read(state, tokens[:, :20])
    torch.testing.assert_close(first, said[:, 19], atol=1e-5, rtol=1e-4)
    for at in range(20, tokens.shape[1]):
        step, state = system.step(state, tokens[:, at])
        torch.testing.assert_close(step, said[:, at], atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="marks 12 pictures, its row has 11"):
        system.logits(Batch(images=images[:, :11], texts=Texts.unpadded(tokens)))


@torch.no_grad()
def test_the_loss_is_of_the_next_token_and_never_of_an_image() -> None:
    system, batch = made(), document()
    said = system.logits(batch).log_softmax(-1)[0]
    wanted = [(at, token) for at, token in enumerate(batch.texts.ids[0, 1:].tolist()) if token != MARK]
    assert len(wanted) == 8
    expected = -sum(float(said[at, token]) for at, token in wanted) / 8
    assert float(system.losses(batch)["lm"]) == pytest.approx(expected, rel=1e-5)
    assert float(system.logits(batch)[..., MARK].max()) <= flamingo.NEVER


def test_the_language_model_learns_first_and_by_itself() -> None:
    """learn="language": texts alone, no bridge; its weights then stand in a Flamingo that says the same at its start."""
    torch.manual_seed(0)
    system = System(replace(TINY, learn="language"))
    learned = {name.split(".")[0] for name, value in system.named_parameters() if value.requires_grad}
    assert learned == {"language"}
    tokens = torch.randint(5, 60, (3, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        alone = system.eval().logits(Batch(texts=Texts.unpadded(tokens)))
        bridge = System(TINY).eval()
        bridge.load_state_dict(system.state_dict())
        assert torch.equal(bridge.logits(Batch(texts=Texts.unpadded(tokens)))[..., :62], alone[..., :62])


def test_a_tower_without_rows_is_refused() -> None:
    assert Config().every == 1 and Config().images == 5 and Config().shots == 32 and Config().length == 256
    with pytest.raises(ValueError, match="gives no rows"):
        System(replace(TINY, vision=clip.PRESETS["RN50"].image_encoder))


@torch.no_grad()
def test_rows_before_the_last_norm_and_an_end_of_its_own() -> None:
    """OpenFlamingo's weights of June 2023 read the tower's rows before its last norm; an untied output table has its own row for
    <|endofchunk|>. The embedding of a picture stays the normed one's."""
    torch.manual_seed(0)
    system = System(TINY).eval()
    raw = System(replace(TINY, vision=replace(TINY.vision, norm_rows=False))).eval()
    system.vision.image.norm.weight.add_(torch.randn(32))
    raw.load_state_dict(system.state_dict())
    batch = document()
    images = batch.images.flatten(0, 1)
    rows, embedding = system.vision(images)
    before, same = raw.vision(images)
    torch.testing.assert_close(system.vision.image.norm(before), rows)
    torch.testing.assert_close(same, embedding)
    assert all(PRESETS[f"open_flamingo-{size}"].vision.norm_rows is False for size in ("3B", "4B", "9B"))
    own = System(replace(TINY, own_end=True)).eval()
    state = {**system.state_dict(), "marks": torch.cat([system.marks, torch.ones(1, 32)])}
    own.load_state_dict(state)
    one, two = system.logits(batch), own.logits(batch)
    differs = (one - two).abs().amax((0, 1)) > 1e-6
    assert differs.nonzero()[:, 0].tolist() == [TINY.chunk_end]
